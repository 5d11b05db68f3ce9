// Stock containerd for a test: installed into a cache, started with everything of its own (configuration, root, state, socket).
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const VERSION = '2.4.2';
const NEEDS_GO = [1, 26, 6];
const PROGRAMS = ['containerd', 'ctr', 'containerd-shim-runc-v2'];
const CRICTL = 'sigs.k8s.io/cri-tools/cmd/crictl@v1.37.0';
const INSTALL_TIMEOUT = 20 * 60_000;
const CALL_TIMEOUT = 60_000;

/** Platforms, as containerd names them: of tars, and of snapshotters that take EROFS. */
export const HOST = `linux/${{ x64: 'amd64' }[process.arch] ?? process.arch}`;
export const EROFS = HOST.replace('/', '(+erofs)/');
const LAYER_TYPES = [
  'application/vnd.erofs',
  'application/vnd.erofs+zstd',
  'application/vnd.erofs.chunk-index.v1',
];

/** Configuration: by which differ the transfer service unpacks what for a snapshotter. */
export const unpacking = (platform, snapshotter, differ) => `
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '${platform}'
  snapshotter = '${snapshotter}'
  differ = '${differ}'
${platform === EROFS ? `  layer_types = ${JSON.stringify(LAYER_TYPES)}` : ''}
`;

/** Configuration: our differ, at its socket, for containerd's erofs snapshotter. */
export const differing = (socket) => `
[proxy_plugins.seekable-diff]
  type = 'diff'
  address = '${socket}'
  platform = '${EROFS}'
${unpacking(EROFS, 'erofs', 'seekable-diff')}
`;

/** Why containerd can't be had here, null when it can. $CONTAINERD_BIN names a directory that has it already. */
export function missingForContainerd() {
  if (process.env.CONTAINERD_BIN || existsSync(join(cacheDirectory(), 'containerd'))) return null;
  const go = spawnSync('go', ['env', 'GOVERSION', 'GOTOOLCHAIN'], { encoding: 'utf8' });
  if (go.status !== 0) return `containerd ${VERSION} has to be built and there is no Go`;
  const [, ...version] = (/^go(\d+)\.(\d+)(?:\.(\d+))?/.exec(go.stdout) ?? []).map(Number);
  const fetchesToolchain = version[1] >= 21 && !go.stdout.includes('\nlocal'); // then it gets the one it needs
  if (fetchesToolchain || !isOlder(version, NEEDS_GO)) return null;
  return `containerd ${VERSION} needs Go ${NEEDS_GO.join('.')}, this is ${go.stdout.split('\n')[0]}`;
}

function isOlder(version, wanted) {
  const different = wanted.findIndex((number, i) => (version[i] || 0) !== number);
  return different >= 0 && (version[different] || 0) < wanted[different];
}

/** Directory with containerd, ctr and the runc shim, built on the first call. */
export function installContainerd() {
  if (process.env.CONTAINERD_BIN) return process.env.CONTAINERD_BIN;
  const bin = cacheDirectory();
  mkdirSync(bin, { recursive: true, mode: 0o700 });
  if (lstatSync(bin).uid !== process.getuid()) throw new Error(`${bin} is someone else's`);
  const absent = PROGRAMS.filter((program) => !existsSync(join(bin, program)));
  if (absent.length > 0) {
    const packages = absent.map(
      (program) => `github.com/containerd/containerd/v2/cmd/${program}@v${VERSION}`,
    );
    execFileSync('go', ['install', '-tags', 'no_btrfs', ...packages], {
      env: { ...process.env, GOBIN: bin, CGO_ENABLED: '0', GOFLAGS: '' },
      stdio: 'inherit',
      timeout: INSTALL_TIMEOUT,
    });
  }
  return bin;
}

/** Puts crictl beside them, if it can be had; null, or why it can't. */
export function installCrictl(bin) {
  if (existsSync(join(bin, 'crictl'))) return null;
  if (process.env.CONTAINERD_BIN) return 'there is no crictl in $CONTAINERD_BIN';
  const run = spawnSync('go', ['install', CRICTL], {
    env: { ...process.env, GOBIN: bin, CGO_ENABLED: '0', GOFLAGS: '' },
    encoding: 'utf8',
    timeout: INSTALL_TIMEOUT,
  });
  if (run.status === 0) return null;
  const said = (run.stderr ?? String(run.error)).trim().split('\n').at(-1);
  return `crictl can't be built: ${said}`;
}

/** A mkfs.erofs ($MKFS_EROFS, or on PATH) that takes tars; null without one. */
export function realMkfs() {
  const [path] = process.env.MKFS_EROFS
    ? [process.env.MKFS_EROFS]
    : spawnSync('sh', ['-c', 'command -v mkfs.erofs'], { encoding: 'utf8' }).stdout.split('\n');
  const help = path === '' ? '' : spawnSync(path, ['--help'], { encoding: 'utf8' }).stdout;
  return help.includes('--tar=') ? path : null;
}

function cacheDirectory() {
  return join(
    process.env.XDG_CACHE_HOME || tmpdir(),
    `seekable-erofs-containerd-${VERSION}-${process.getuid()}`,
  );
}

/**
 * Starts containerd as it comes, but for its paths and the EROFS differ for unpacking by clients (`--local`): the transfer
 * service unpacks EROFS images by its default configuration. CRI, which has but one snapshotter, is told to take the EROFS one.
 * The caller owns the namespaces: nothing here undoes mounts or ends containers.
 * @param pause what CRI keeps pods alive with: the name of an image that is there already
 * @param extra more of its configuration, in TOML
 * @param snapshotter that CRI takes
 * @param differs that the diff service asks, in order
 */
export async function startContainerd({ bin, directory, pause, ...configuration }) {
  const daemon = new Containerd(bin, directory, pause);
  daemon.writeConfiguration(configuration);
  await daemon.start();
  return daemon;
}

class Containerd {
  #bin;
  #directory;
  #pause;
  #process;
  #mkfsCalls;
  #logFile;

  constructor(bin, directory, pause) {
    this.#bin = bin;
    this.#directory = directory;
    this.#pause = pause;
    this.#mkfsCalls = join(directory, 'mkfs-calls');
    this.#logFile = join(directory, 'containerd.log');
  }

  writeConfiguration({ extra = '', snapshotter = 'erofs', differs = ['erofs', 'walking'] }) {
    const at = (name) => join(this.#directory, name);
    mkdirSync(at('programs'));
    // The differ refuses to load without a mkfs.erofs that knows --tar, though it never needs one for EROFS layers. This
    // one says that it does and notes any real use, so the test doesn't need erofs-utils and sees that nothing is converted.
    const real = realMkfs();
    const used = real === null ? 'exit 1' : `exec '${real}' "$@"`;
    const mkfs = `#!/bin/sh\n[ "$1" = --help ] && echo " --tar=X" && exit\necho "$*" >> '${this.#mkfsCalls}'\n${used}\n`;
    writeFileSync(at('programs/mkfs.erofs'), mkfs, { mode: 0o755 });
    writeFileSync(
      at('config.toml'),
      `version = 4
imports = []
root = '${at('root')}'
state = '${at('state')}'
disabled_plugins = ['io.containerd.nri.v1.nri']

[plugins.'io.containerd.server.v1.grpc']
  address = '${at('socket')}'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '${at('socket.ttrpc')}'
[plugins.'io.containerd.internal.v1.opt']
  path = '${at('opt')}'

[plugins.'io.containerd.snapshotter.v1.erofs']
  layer_content_caches = ['${this.cache}']

[plugins.'io.containerd.service.v1.diff-service']
  default = ${JSON.stringify(differs)}

[plugins.'io.containerd.cri.v1.images']
  snapshotter = '${snapshotter}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '${this.#pause}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  conf_dir = '${at('cni')}'
${extra}`,
    );
  }

  async start() {
    const log = openSync(this.#logFile, 'a');
    this.#process = spawn(join(this.#bin, 'containerd'), ['--config', join(this.#directory, 'config.toml')], {
      env: { ...process.env, PATH: `${join(this.#directory, 'programs')}:${this.#bin}:${process.env.PATH}` },
      stdio: ['ignore', log, log],
    });
    for (const deadline = Date.now() + CALL_TIMEOUT; ;) {
      const answer = spawnSync(join(this.#bin, 'ctr'), [
        '--address',
        join(this.#directory, 'socket'),
        'version',
      ]);
      if (answer.status === 0) return;
      if (this.#process.exitCode !== null || Date.now() > deadline) {
        throw new Error(`containerd did not come up\n${this.complaints}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** What containerd logged above level info. */
  get complaints() {
    const lines = readFileSync(this.#logFile, 'utf8').split('\n');
    return lines.filter((line) => !/ level=(info|debug) /.test(line)).join('\n');
  }

  /** What containerd asked mkfs.erofs to do, one line a call. */
  get mkfsCalls() {
    return existsSync(this.#mkfsCalls) ? readFileSync(this.#mkfsCalls, 'utf8') : '';
  }

  /** Where it keeps its data. */
  get root() {
    return join(this.#directory, 'root');
  }

  /** Directories of its own snapshotters. */
  get snapshotters() {
    return ['erofs', 'overlayfs'].map((name) => join(this.root, `io.containerd.snapshotter.v1.${name}`));
  }

  /** Directory of the EROFS snapshotter. */
  get snapshots() {
    return join(this.snapshotters[0], 'snapshots');
  }

  /** Directory where the snapshotter looks for layers that were made before, by their tars' DiffIDs. */
  get cache() {
    return join(this.#directory, 'cache');
  }

  /** Runs ctr in a namespace and gives what it printed; throws with its message when it fails or hangs. */
  ctr(namespace, ...args) {
    return this.#call('ctr', ['--address', join(this.#directory, 'socket'), '--namespace', namespace], args);
  }

  /** Begins to run ctr; resolves to what it printed. */
  async begin(namespace, ...args) {
    return this.beginUntil(undefined, namespace, ...args);
  }

  /** The same; ctr is killed when `signal` is aborted. */
  async beginUntil(signal, namespace, ...args) {
    const all = ['--address', join(this.#directory, 'socket'), '--namespace', namespace, ...args];
    const options = { timeout: CALL_TIMEOUT, signal, killSignal: 'SIGKILL' };
    const { stdout } = await promisify(execFile)(join(this.#bin, 'ctr'), all, options);
    return stdout;
  }

  /** Runs crictl, likewise. */
  crictl(...args) {
    const common = ['--runtime-endpoint', `unix://${join(this.#directory, 'socket')}`, '--timeout', '60s'];
    return this.#call('crictl', common, args);
  }

  #call(program, common, args) {
    const run = spawnSync(join(this.#bin, program), [...common, ...args], {
      encoding: 'utf8',
      timeout: CALL_TIMEOUT,
    });
    if (run.status === 0) return run.stdout;
    throw new Error(
      `${program} ${args.join(' ')}: exit ${run.status ?? run.signal}\n${run.stdout.slice(-2000)}${run.stderr}`,
    );
  }

  /** As `kill -9` ends it: containers run on. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }

  async stop() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGTERM');
    await ended;
  }
}
