import { access, constants, readFile } from 'node:fs/promises';
import { native } from '../native/binding';

/** One thing that a machine has or lacks. */
export interface DoctorCheck {
  name: string;
  status: 'ok' | 'missing' | 'unknown';
  /** What was found. */
  detail: string;
  /** How to get it; empty when nothing needs to be done. */
  hint: string;
}

/** What a machine can do. */
export interface DoctorReport {
  /** False when something is missing that conversion needs; mounting needs more, and says so in its checks. */
  ok: boolean;
  checks: DoctorCheck[];
}

/** Looks at the machine: the addon and its instruction sets, and what the kernel offers for mounting. Changes nothing. */
export async function doctor(): Promise<DoctorReport> {
  const filesystems = await readFile('/proc/filesystems', 'utf8').catch(() => '');
  const checks = [
    addonCheck(),
    filesystemCheck(filesystems, 'erofs'),
    filesystemCheck(filesystems, 'overlay'),
    filesystemCheck(filesystems, 'fuse'),
    await deviceCheck('loop', '/dev/loop-control', 'modprobe loop, as root'),
    await deviceCheck('dm-verity', '/dev/mapper/control', 'modprobe dm-verity, as root'),
    rootCheck(),
  ];
  return { ok: checks[0]!.status === 'ok', checks };
}

function addonCheck(): DoctorCheck {
  const { zstd, openssl, sha512Many, sha256Stream } = native.features();
  const detail = `zstd ${zstd}, ${openssl}, SHA-512 ${sha512Many}, SHA-256 ${sha256Stream}`;
  return { name: 'addon', status: 'ok', detail, hint: '' };
}

function filesystemCheck(filesystems: string, name: string): DoctorCheck {
  if (new RegExp(`\\b${name}$`, 'm').test(filesystems)) {
    return { name, status: 'ok', detail: 'the kernel has it', hint: '' };
  }
  // A module that is not loaded yet is not listed, and mounting loads it.
  return { name, status: 'unknown', detail: 'not loaded, or not built', hint: `modprobe ${name}, as root` };
}

async function deviceCheck(name: string, path: string, hint: string): Promise<DoctorCheck> {
  try {
    await access(path, constants.R_OK | constants.W_OK);
    return { name, status: 'ok', detail: path, hint: '' };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES')
      return { name, status: 'missing', detail: `${path}: permission denied`, hint: 'run as root' };
    return { name, status: 'missing', detail: `there is no ${path}`, hint };
  }
}

function rootCheck(): DoctorCheck {
  const root = process.getuid?.() === 0;
  return root
    ? { name: 'root', status: 'ok', detail: 'running as root', hint: '' }
    : {
        name: 'root',
        status: 'missing',
        detail: 'not running as root',
        hint: 'mounting needs root; conversion does not',
      };
}
