import { SeekableErofsError } from '../../errors';
import { findMkfs } from '../../layer/mkfs/program';
import { native } from '../../native/binding';
import { missing, ok, unknown, type DoctorCheck } from './check';
import type { KernelFeature, Machine } from './machine';
import { versionOf } from '../program';
import { findRuntime, runtimeHint } from '../container/runtime';

/** The addon and the instruction sets that it uses. */
export function addonCheck(): DoctorCheck {
  const { zstd, openssl, sha512Many, sha256Stream } = native.features();
  return ok('addon', `zstd ${zstd}, ${openssl}, SHA-512 ${sha512Many}, SHA-256 ${sha256Stream}`);
}

/** What the kernel needs for mounting, in the order in which a mount uses it. */
export async function kernelChecks(machine: Machine): Promise<DoctorCheck[]> {
  const verity = await verityCheck(machine);
  return [
    await filesystemCheck(machine, 'erofs', 'EROFS_FS'),
    ...(await compressionChecks(machine)),
    await fileBackedCheck(machine),
    await deviceCheck(
      machine,
      await featureCheck(machine, 'loop', 'BLK_DEV_LOOP', 'loop'),
      '/dev/loop-control',
    ),
    verity,
    await hashCheck(machine, 'sha512', verity),
    await hashCheck(machine, 'sha256', verity),
    await filesystemCheck(machine, 'overlay', 'OVERLAY_FS'),
    await deviceCheck(machine, await filesystemCheck(machine, 'fuse', 'FUSE_FS'), '/dev/fuse'),
    await rootCheck(machine),
  ];
}

/** Programs that some commands run. */
export async function programChecks(): Promise<DoctorCheck[]> {
  return [await mkfsCheck(), await runtimeCheck()];
}

async function filesystemCheck(machine: Machine, name: string, option: string): Promise<DoctorCheck> {
  const loaded = new RegExp(`\\b${name}$`, 'm').test(await machine.read('/proc/filesystems'));
  return loaded ? ok(name, 'the kernel has it') : featureCheck(machine, name, option, name);
}

async function featureCheck(
  machine: Machine,
  name: string,
  option: string,
  module?: string,
): Promise<DoctorCheck> {
  return describe(name, option, module, await machine.feature(option, module));
}

function describe(
  name: string,
  option: string,
  module: string | undefined,
  feature: KernelFeature,
): DoctorCheck {
  switch (feature) {
    case 'built in':
      return ok(name, 'the kernel has it');
    case 'module':
      return ok(name, `a module, ${module ?? name}`);
    case 'absent':
      return missing(name, `this kernel is built without CONFIG_${option}`, `a kernel with CONFIG_${option}`);
    case null: {
      const hint =
        module === undefined ? `the kernel's CONFIG_${option} tells` : `modprobe ${module}, as root`;
      return unknown(name, 'not loaded, and nothing here tells how the kernel is built', hint);
    }
  }
}

/** Layers of containerd's profile are not compressed inside; those of mkfs.erofs may be. */
async function compressionChecks(machine: Machine): Promise<DoctorCheck[]> {
  const algorithms = [
    { name: 'erofs-lz4', option: 'EROFS_FS_ZIP', since: [5, 4] },
    { name: 'erofs-lzma', option: 'EROFS_FS_ZIP_LZMA', since: [5, 16] },
    { name: 'erofs-deflate', option: 'EROFS_FS_ZIP_DEFLATE', since: [6, 6] },
    { name: 'erofs-zstd', option: 'EROFS_FS_ZIP_ZSTD', since: [6, 10] },
  ] as const;
  return Promise.all(
    algorithms.map(({ name, option, since }) =>
      sinceVersion(machine, name, since, () => featureCheck(machine, name, option)),
    ),
  );
}

async function sinceVersion(
  machine: Machine,
  name: string,
  [major, minor]: readonly [number, number],
  check: () => Promise<DoctorCheck>,
): Promise<DoctorCheck> {
  if (machine.isAtLeast(major, minor)) return check();
  return missing(name, `this is Linux ${machine.release}`, `Linux ${major}.${minor} or newer`);
}

async function fileBackedCheck(machine: Machine): Promise<DoctorCheck> {
  const name = 'erofs-file-backed';
  const check = await sinceVersion(machine, name, [6, 12], () =>
    featureCheck(machine, name, 'EROFS_FS_BACKED_BY_FILE'),
  );
  return check.status === 'missing' ? { ...check, hint: `${check.hint}; loop devices serve as well` } : check;
}

async function verityCheck(machine: Machine): Promise<DoctorCheck> {
  const check = await featureCheck(machine, 'dm-verity', 'DM_VERITY', 'dm-verity');
  const hint = `${check.hint}; without it trees are checked in user space before mounting`;
  if (check.status === 'missing') return { ...check, hint };
  const device = await deviceCheck(machine, check, '/dev/mapper/control');
  // The device is device-mapper's: it says nothing of this target.
  return device.status === 'ok' ? { ...check, detail: device.detail } : device;
}

/** A hash that the kernel's crypto has loaded, or can load; of use only where dm-verity is. */
async function hashCheck(
  machine: Machine,
  hash: 'sha256' | 'sha512',
  verity: DoctorCheck,
): Promise<DoctorCheck> {
  const name = `dm-verity-${hash}`;
  if (verity.status === 'missing') return { ...verity, name, detail: `dm-verity: ${verity.detail}` };
  const loaded = new RegExp(`^name\\s*:\\s*${hash}$`, 'm').test(await machine.read('/proc/crypto'));
  if (loaded) return ok(name, 'the kernel has it');
  return featureCheck(machine, name, `CRYPTO_${hash.toUpperCase()}`, `${hash}_generic`);
}

/** What the kernel has is of use only with its device: containers often lack that, and users may not open it. */
async function deviceCheck(machine: Machine, kernel: DoctorCheck, device: string): Promise<DoctorCheck> {
  if (kernel.status === 'missing') return kernel;
  const code = await machine.tryDevice(device);
  if (code === null) return ok(kernel.name, kernel.status === 'ok' ? `${kernel.detail}, ${device}` : device);
  if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
    const hint = kernel.hint === '' ? 'a container needs to be given it' : kernel.hint;
    return missing(kernel.name, `there is no ${device}`, hint);
  }
  const denied = code === 'EACCES' || code === 'EPERM';
  return missing(kernel.name, `${device}: ${denied ? 'permission denied' : code}`, 'run as root');
}

const sysAdmin = 21n;

/** Root is what the kernel lets mount: in containers it often may not. */
async function rootCheck(machine: Machine): Promise<DoctorCheck> {
  if (process.geteuid?.() !== 0)
    return missing('root', 'not running as root', 'mounting needs root; conversion does not');
  const [, mask = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(await machine.read('/proc/self/status')) ?? [];
  if (((BigInt(`0x${mask}`) >> sysAdmin) & 1n) === 1n) return ok('root', 'running as root');
  return missing('root', 'running as root, but without CAP_SYS_ADMIN', 'a privileged container can mount');
}

async function mkfsCheck(): Promise<DoctorCheck> {
  try {
    const program = await findMkfs({});
    return ok('mkfs.erofs', `${program} ${(await versionOf(program)) ?? ''}`.trim());
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    return missing('mkfs.erofs', `${error.what}: ${error.why}`, 'for --mkfs only: erofs-utils 1.8 or newer');
  }
}

async function runtimeCheck(): Promise<DoctorCheck> {
  const runtime = await findRuntime();
  if (runtime === null)
    return missing('container-runtime', 'neither runc nor crun is installed', runtimeHint);
  return ok('container-runtime', `${runtime.path} ${(await versionOf(runtime.path)) ?? ''}`.trim());
}
