import { resolve } from 'node:path';
import { failure } from '../errors';

/** What of the flags of `serve` containerd has to know. */
interface Settings {
  erofsCache?: string | undefined;
  registry?: string | undefined;
  upstreams?: readonly string[] | undefined;
}

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
export function containerdConfig({ erofsCache, registry, upstreams = [] }: Settings, arch: string): string[] {
  if (erofsCache === undefined)
    throw failure(
      'USAGE',
      '--print-config containerd',
      'there is nothing that containerd would use',
      'add --erofs-cache DIR',
    );
  return [
    '# For /etc/containerd/config.toml (containerd 2.4 or later).',
    'version = 4',
    '',
    "[plugins.'io.containerd.snapshotter.v1.erofs']",
    `  layer_content_caches = [${quoted(resolve(erofsCache))}]`,
    "  # dmverity_mode = 'off'   # where the kernel has no dm-verity and layers have trees",
    '',
    "[plugins.'io.containerd.service.v1.diff-service']",
    "  default = ['erofs', 'walking']",
    '',
    "[plugins.'io.containerd.cri.v1.images']",
    "  snapshotter = 'erofs'",
    ...(registry === undefined ? [] : mirrorLines()),
    '',
    ...unpackLines(arch),
    ...(registry === undefined ? [] : upstreams.flatMap((host) => ['', ...hostLines(host, registry)])),
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
function unpackLines(arch: string): string[] {
  const unpack = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]";
  return [
    unpack,
    `  platform = ${quoted(`linux/${arch}`)}`,
    "  snapshotter = 'overlayfs'",
    "  differ = 'walking'",
    unpack,
    `  platform = ${quoted(`linux(+erofs)/${arch}`)}`,
    "  snapshotter = 'erofs'",
    "  differ = 'erofs'",
    '  optional = true',
    `  layer_types = [${draftLayers.map(quoted).join(', ')}]`,
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
