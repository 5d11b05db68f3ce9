import { resolve } from 'node:path';
import { failure } from '../errors';

/** What of the flags of `serve` containerd has to know. */
interface Settings {
  erofsCache?: string | undefined;
  registry?: string | undefined;
  upstreams?: readonly string[] | undefined;
  snapshotter?: string | undefined;
  differ?: string | undefined;
}

/** Names of our plugins. */
const ownSnapshotter = 'seekable';
const ownDiffer = 'seekable-diff';

const certsFolder = '/etc/containerd/certs.d';
/** Layers of the draft specification: containerd takes them for layers when it is told, beside those that it knows. */
const draftLayers = [
  'application/vnd.erofs',
  'application/vnd.erofs+zstd',
  'application/vnd.erofs.chunk-index.v1',
];
/**
 * What containerd 2.4 and later needs to be told to use what `serve` shows with these flags: lines of its configuration, and the files for its
 * mirrors as comments that name them. USAGE without a cache.
 * @param arch as Go names it
 */
export function containerdConfig(settings: Settings, arch: string): string[] {
  const { erofsCache, registry, upstreams = [], snapshotter, differ } = settings;
  if (erofsCache === undefined && snapshotter === undefined && differ === undefined)
    throw failure(
      'USAGE',
      '--print-config containerd',
      'there is nothing that containerd would use',
      'add --erofs-cache DIR, --snapshotter SOCKET or --differ SOCKET',
    );
  return [
    '# For /etc/containerd/config.toml (containerd 2.4 or later).',
    'version = 4',
    ...(snapshotter === undefined ? [] : snapshotterLines(snapshotter, arch)),
    ...(differ === undefined ? [] : differLines(differ, arch)),
    ...(erofsCache === undefined ? [] : cacheLines(erofsCache)),
    ...(erofsCache === undefined && differ === undefined ? [] : diffServiceLines(differ)),
    '',
    "[plugins.'io.containerd.cri.v1.images']",
    `  snapshotter = ${quoted(snapshotter === undefined ? 'erofs' : ownSnapshotter)}`,
    ...(registry === undefined ? [] : mirrorLines()),
    '',
    ...unpackLines(settings, arch),
    ...(registry === undefined ? [] : upstreams.flatMap((host) => ['', ...hostLines(host, registry)])),
  ];
}

function snapshotterLines(socket: string, arch: string): string[] {
  return [
    ...proxyLines(ownSnapshotter, 'snapshot', socket, arch),
    `  [proxy_plugins.${ownSnapshotter}.exports]`,
    "    enable_remote_snapshot_annotations = 'true'",
  ];
}

const differLines = (socket: string, arch: string): string[] => proxyLines(ownDiffer, 'diff', socket, arch);

function proxyLines(name: string, type: string, socket: string, arch: string): string[] {
  return [
    '',
    `[proxy_plugins.${name}]`,
    `  type = ${quoted(type)}`,
    `  address = ${quoted(resolve(socket))}`,
    `  platform = ${quoted(`linux(+erofs)/${arch}`)}`,
  ];
}

function cacheLines(erofsCache: string): string[] {
  return [
    '',
    "[plugins.'io.containerd.snapshotter.v1.erofs']",
    `  layer_content_caches = [${quoted(resolve(erofsCache))}]`,
    "  # dmverity_mode = 'off'   # where the kernel has no dm-verity and layers have trees",
  ];
}

function diffServiceLines(differ: string | undefined): string[] {
  const names = [...(differ === undefined ? [] : [ownDiffer]), 'erofs', 'walking'];
  return [
    '',
    "[plugins.'io.containerd.service.v1.diff-service']",
    `  default = [${names.map(quoted).join(', ')}]`,
  ];
}

/** Where containerd looks for mirrors: for pods, and for `ctr`. */
function mirrorLines(): string[] {
  return [
    "[plugins.'io.containerd.cri.v1.images'.registry]",
    `  config_path = ${quoted(certsFolder)}`,
    "[plugins.'io.containerd.transfer.v1.local']",
    `  config_path = ${quoted(certsFolder)}`,
  ];
}

/** A list takes the place of the default one, so that has to be in it as well. */
function unpackLines({ erofsCache, snapshotter, differ }: Settings, arch: string): string[] {
  const erofs = `linux(+erofs)/${arch}`;
  const layerTypes = `  layer_types = [${draftLayers.map(quoted).join(', ')}]`;
  const lines = unpackEntry(`linux/${arch}`, 'overlayfs', 'walking');
  if (snapshotter !== undefined) lines.push(...unpackEntry(erofs, ownSnapshotter, 'walking'), layerTypes);
  if (erofsCache === undefined && differ === undefined) return lines;
  const applier = differ === undefined ? 'erofs' : ownDiffer;
  return [...lines, ...unpackEntry(erofs, 'erofs', applier), '  optional = true', layerTypes];
}

function unpackEntry(platform: string, snapshotter: string, differ: string): string[] {
  return [
    "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]",
    `  platform = ${quoted(platform)}`,
    `  snapshotter = ${quoted(snapshotter)}`,
    `  differ = ${quoted(differ)}`,
  ];
}

function hostLines(host: string, registry: string): string[] {
  const server = host === 'docker.io' ? ["# server = 'https://registry-1.docker.io'"] : [];
  return [
    `# For ${certsFolder}/${host}/hosts.toml, without the signs at the beginning:`,
    ...server,
    `# [host.${quoted(`http://${registry}`)}]`,
    "#   capabilities = ['pull', 'resolve']",
  ];
}

/** A string of TOML in which nothing has a meaning, or one with escapes. */
function quoted(text: string): string {
  // eslint-disable-next-line no-control-regex -- TOML forbids them in plain strings
  return /['\x00-\x1f\x7f]/.test(text) ? JSON.stringify(text) : `'${text}'`;
}
