import { parse } from 'smol-toml';
import { findProgram, versionOf } from '../program';
import { missing, ok, unknown, type DoctorCheck } from './check';
import type { Machine } from './machine';

const configFile = '/etc/containerd/config.toml';
const howTo =
  'seekable-erofs serve … --print-config containerd prints what to write there (docs/containerd.md)';
const transferService = 'io.containerd.transfer.v1.local';
const erofsSnapshotter = 'io.containerd.snapshotter.v1.erofs';
/** Layers of the draft specification are unknown to containerd unless it is told. */
const draftLayer = 'application/vnd.erofs+zstd';

type Table = Readonly<Record<string, unknown>>;

/** How containerd is set up for lazy images; nothing where there is no containerd. */
export async function containerdChecks(machine: Machine): Promise<DoctorCheck[]> {
  const program = await findProgram('containerd');
  const text = await machine.read(configFile);
  if (program === null && text === '') return [];
  const version = program === null ? null : await versionOf(program);
  return [versionCheck(version), ...(await configChecks(machine, text))];
}

/** Exported for its test. */
export function versionCheck(version: string | null): DoctorCheck {
  const [, major = '', minor = ''] = /(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (major === '') return unknown('containerd', 'which version it is, is not known', 'containerd --version');
  const isNew = Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 4);
  if (isNew) return ok('containerd', version!);
  return missing('containerd', `it is ${version!}`, 'containerd 2.4 or later for lazy images');
}

/** Exported for its test. */
export async function configChecks(machine: Machine, text: string): Promise<DoctorCheck[]> {
  let config: Table;
  try {
    config = parse(text);
  } catch (error) {
    const [why = ''] = (error as Error).message.split('\n');
    return [
      missing('containerd-config', `${configFile}: ${why}`, 'containerd does not start with it either'),
    ];
  }
  const plugins = tableOf(config['plugins']);
  const proxies = Object.entries(tableOf(config['proxy_plugins'])).map(
    ([name, value]) => [name, tableOf(value)] as const,
  );
  const caches = listOf(tableOf(plugins[erofsSnapshotter])['layer_content_caches']);
  if (proxies.length === 0 && caches.length === 0) {
    const detail = `${configFile} has neither a proxy plugin nor a layer content cache`;
    return [missing('containerd-config', detail, howTo)];
  }
  const unpacking = listOf(tableOf(plugins[transferService])['unpack_config']).map(tableOf);
  return [
    ...(await Promise.all(proxies.map(([name, proxy]) => proxyCheck(machine, name, proxy, unpacking)))),
    ...(await Promise.all(caches.map((folder) => cacheCheck(machine, String(folder))))),
  ];
}

async function proxyCheck(
  machine: Machine,
  name: string,
  { type, address, exports }: Table,
  unpacking: readonly Table[],
): Promise<DoctorCheck> {
  const what = `containerd-${name}`;
  const flag = type === 'diff' ? '--differ' : '--snapshotter';
  if (typeof address !== 'string' || !(await machine.exists(address)))
    return missing(
      what,
      `nothing is at ${String(address)}`,
      `serve ${flag} ${String(address)}, before containerd`,
    );
  const uses = unpacking.filter((entry) => entry[type === 'diff' ? 'differ' : 'snapshotter'] === name);
  if (uses.length === 0) return missing(what, `no unpack_config of ${transferService} names it`, howTo);
  if (type === 'snapshot' && tableOf(exports)['enable_remote_snapshot_annotations'] !== 'true')
    return missing(
      what,
      'containerd does not tell it which image a layer is of',
      'exports.enable_remote_snapshot_annotations = "true"',
    );
  if (!uses.some((entry) => String(entry['platform']).includes('+erofs')))
    return missing(what, 'its unpack_config is not for EROFS images', "platform = 'linux(+erofs)/ARCH'");
  if (!uses.some((entry) => listOf(entry['layer_types']).includes(draftLayer)))
    return ok(
      what,
      `${address}; without layer_types, so images of profile erofs-image-spec are not unpacked`,
    );
  return ok(what, address);
}

async function cacheCheck(machine: Machine, folder: string): Promise<DoctorCheck> {
  const what = 'containerd-cache';
  if (await machine.exists(folder)) return ok(what, folder);
  return missing(what, `there is no folder ${folder}`, `serve --erofs-cache ${folder}, before containerd`);
}

const tableOf = (value: unknown): Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Table) : {};

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
