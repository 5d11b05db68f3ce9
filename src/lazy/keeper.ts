import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { parseByteSize } from '../format/byte-size';
import { acquireLock } from '../fs/lock';
import { lazyMountType, mountsAt, readMounts } from '../fs/mountinfo';
import { native } from '../native/binding';
import { omit } from '../oci/json';
import { fromNativeError } from '../native/native-error';
import type { CacheLimits } from './cache-room';
import { canTakeOver, takeOrphan, type FuseDevice } from './orphan';
import { prepareCacheMount, unmountCache } from './erofs-cache/cache-mount';
import { LazyFolder } from './lazy-folder';
import { parseListen } from '../listening';
import { parseUpstream } from './mirror/request';

/** A server that died has this long to be back, before readers get errors; in milliseconds. */
const recoveryTime = 5000;
const restartPause = 100;
/** A client holds the lock for a moment to see whether there is a keeper; in milliseconds. */
const lockTime = 500;
/** Longer than any chunk takes to be written and synced; in milliseconds. */
const stopTime = 10_000;
const detach = 2; // MNT_DETACH
const nosuidNodevNoexec = 2 | 4 | 8;

/** The server is replaced by another. The second is for one in the foreground, which the first ends: its terminal was closed. */
const restartSignals = ['SIGHUP', 'SIGUSR2'] as const;

/** What a lazy server is started with. */
export interface LazyServeOptions {
  /** Folder with sockets and mounts; default: `/run/seekable-erofs`, and what is kept in `/var/lib/seekable-erofs`. */
  state?: string | undefined;
  /** What is fetched after 10 s of quiet: `auto` (the default: all, as fast as it goes), `off`, or so many bytes a second. */
  background?: string | number | undefined;
  /** Seconds that a reader waits for what can't be had, before it gets an error; default: 60. */
  ioTimeout?: number | undefined;
  /** Bytes on disk of all layers that are kept, or text like `20GiB`; default: as many as leave a tenth of the disk free, or 10 GiB. */
  cacheSize?: string | number | undefined;
  /** Days that a layer is kept which nothing has mounted; default: 30. */
  keep?: number | undefined;
  /** Address and port, `127.0.0.1:9100`, where `GET /metrics` is answered in Prometheus' format; default: nowhere. */
  metrics?: string | undefined;
  /** An empty folder that becomes a layer content cache of containerd, with the layers of images that are added (docs/containerd.md). */
  erofsCache?: string | undefined;
  /** Address and port, `127.0.0.1:5050`, of a read-only mirror of `upstreams` that puts images into the cache as they are pulled. */
  registry?: string | undefined;
  /** Registries that the mirror asks, as containerd names them: `docker.io`, `registry.example:5000`. It asks no others. */
  upstreams?: readonly string[] | undefined;
  /** Of the mirror: file with credentials, as `skopeo login --authfile` writes it; default: where Docker and Podman keep theirs. */
  authFile?: string | undefined;
  /** Of the mirror: folder with certificates of authorities to trust. */
  certDir?: string | undefined;
  /** Of the mirror: upstreams that don't answer TLS are spoken to in plain HTTP. */
  insecureHttp?: boolean | undefined;
  /** End when no layer is in use any more. */
  untilIdle?: boolean | undefined;
}

/** Who watches a server. */
export interface KeeperOptions extends LazyServeOptions {
  /** Ends server and keeper; layers that are mounted then can't be read any more. */
  signal?: AbortSignal | undefined;
  /**
   * Ends the keeper alone while something is mounted from its server: that one goes on until the last of it is unmounted, or the next keeper takes
   * its mounts over. When nothing is mounted, or this kernel has no way to take over (Linux 6.9 has), both end.
   */
  leave?: AbortSignal | undefined;
  /** Called with the server's socket whenever one has begun to serve. */
  onReady?: ((socket: string) => void) | undefined;
  /** Told when a server has died, and what its successor is up to. */
  onWarning?: ((line: string) => void) | undefined;
}

/** Bytes a second that an option stands for. USAGE for what is no rate. */
export function backgroundRate(option: string | number = 'auto'): number {
  if (option === 'auto') return Infinity;
  if (option === 'off') return 0;
  return typeof option === 'number' ? option : parseByteSize(option);
}

/** What the cache may hold by these options. USAGE for what is no size. */
export function cacheLimits({ cacheSize, keep }: LazyServeOptions): CacheLimits {
  return {
    cacheSize: typeof cacheSize === 'string' ? parseByteSize(cacheSize, 'cache size') : cacheSize,
    keep,
  };
}

/** The mirror's settings, checked, and its files where any process finds them. USAGE for what makes no sense. */
function mirrorSettings({ registry, upstreams = [], erofsCache, authFile, certDir }: LazyServeOptions) {
  const absolute = (path: string | undefined): string | undefined => path && resolve(path);
  const settings = {
    upstreams: upstreams.map(parseUpstream),
    authFile: absolute(authFile),
    certDir: absolute(certDir),
  };
  if (registry === undefined) {
    if (upstreams.length === 0) return settings;
    throw failure('USAGE', 'upstream', 'it is for a mirror', 'add --registry 127.0.0.1:5050');
  }
  parseListen(registry);
  if (upstreams.length === 0)
    throw failure(
      'USAGE',
      registry,
      'a mirror of no registry',
      'name those that it may ask: --upstream HOST',
    );
  if (erofsCache === undefined)
    throw failure('USAGE', registry, 'a mirror fills a cache', 'add --erofs-cache DIR');
  return settings;
}

/** What a keeper tells its server: to go on alone, if something is mounted. */
interface KeeperMessage {
  stay: true;
}

/** What a server tells its keeper. */
export type ServerMessage =
  | { ready: true }
  | { resends: boolean }
  | { idle: true }
  | { ended: true }
  /** It was asked to go on alone, and does. */
  | { stays: true };

/**
 * Mounts the FUSE folder of a state folder, and keeps a server running on it in a process of its own: when that dies, the next one takes
 * the mount over where the kernel can repeat requests (Linux 6.9), else the connection is given up and readers get errors instead of
 * waiting for ever. Resolves when the server has ended as it should. FAILED when another keeper has the folder, MACHINE without root or FUSE.
 */
export async function keepServer(options: KeeperOptions = {}): Promise<void> {
  backgroundRate(options.background); // before anything is done, for their errors
  cacheLimits(options);
  if (options.metrics !== undefined) parseListen(options.metrics);
  const mirror = mirrorSettings(options);
  const folder = await LazyFolder.open(options.state);
  const lock = await acquireLock(folder.lock, { timeout: lockTime }).catch((error: unknown) => {
    const isHeld = error instanceof SeekableErofsError && error.code === 'FAILED';
    throw isHeld ? failure('FAILED', folder.folder, 'a lazy server runs there already') : error;
  });
  try {
    const erofsCache = options.erofsCache && (await prepareCacheMount(options.erofsCache, folder.mountPoint));
    const orphan = await takeOrphan(folder);
    const device = orphan ?? (await mountFuse(folder.mountPoint));
    const keeper = new Keeper(folder, device, { ...options, ...mirror, erofsCache }, orphan !== null);
    try {
      await keeper.run();
    } finally {
      await device.close();
      if (!keeper.hasLeft) {
        if (erofsCache !== undefined) unmountCache(erofsCache);
        unmount(folder.mountPoint);
        await rm(folder.socket, { force: true });
      }
    }
  } finally {
    await lock.release();
  }
}

async function mountFuse(mountPoint: string): Promise<FuseDevice> {
  unmount(mountPoint); // what a keeper that was killed left, if anything
  await mkdir(mountPoint, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw fromSystemError(mountPoint, error);
  });
  const device = await open('/dev/fuse', constants.O_RDWR).catch((error: unknown) => {
    const hint =
      (error as NodeJS.ErrnoException).code === 'EACCES' ? 'run it as root' : 'modprobe fuse, as root';
    throw failure('MACHINE', '/dev/fuse', fromSystemError('/dev/fuse', error).why, hint);
  });
  try {
    const data = `fd=${device.fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${1 << 20}`;
    const source = 'seekable-erofs';
    native.sys.mount({
      source,
      target: mountPoint,
      type: lazyMountType,
      flags: nosuidNodevNoexec | 1,
      data,
    });
    return device;
  } catch (error) {
    await device.close();
    throw failure(
      'MACHINE',
      mountPoint,
      (fromNativeError(error) as Error).message,
      'FUSE is mounted by root',
    );
  }
}

/** Unmounts what a server and its keeper left that were killed, a cache that it showed too; does nothing when another keeper has come. */
export async function clearDeadServer(state?: string): Promise<void> {
  const folder = LazyFolder.at(state);
  const lock = await acquireLock(folder.lock, { timeout: 0 }).catch(() => null);
  if (lock === null) return;
  try {
    const mounts = await readMounts();
    const [own] = mountsAt(mounts, folder.mountPoint);
    for (const { device, target } of mounts) if (device === own?.device) unmount(target);
    await rm(folder.socket, { force: true });
  } finally {
    await lock.release();
  }
}

/** Also while layers are mounted from it: then the kernel lets go of it with the last of them. */
function unmount(mountPoint: string): void {
  try {
    native.sys.unmount(mountPoint, detach);
  } catch {
    // Nothing is mounted there.
  }
}

class Keeper {
  /** Whether the kernel can repeat requests; null until it has said so. */
  private resends: boolean | null = null;
  private isDone = false;
  private child: ChildProcess | null = null;
  private isReady = false;
  /** The server goes on without a keeper. */
  hasLeft = false;

  constructor(
    private readonly folder: LazyFolder,
    private readonly device: FuseDevice,
    private readonly options: KeeperOptions,
    /** The kernel has been answered already, by a server before. */
    private takesOver: boolean,
  ) {}

  async run(): Promise<void> {
    const stop = (): void => {
      this.end();
    };
    const { leave } = this.options;
    this.options.signal?.addEventListener('abort', stop, { once: true });
    leave?.addEventListener('abort', this.askToStay, { once: true });
    for (const name of restartSignals) process.on(name, this.restart);
    try {
      await this.keep();
    } finally {
      leave?.removeEventListener('abort', this.askToStay);
      for (const name of restartSignals) process.off(name, this.restart);
      this.options.signal?.removeEventListener('abort', stop);
    }
  }

  /** One server after the other, until one has ended as it should or there is no point in another. */
  private async keep(): Promise<void> {
    let goneSince: number | null = null;
    for (;;) {
      const wasReady = await this.runServer();
      if (this.isDone || this.options.signal?.aborted === true) return;
      if (wasReady || goneSince === null) goneSince = performance.now();
      if (this.resends === false)
        throw this.lost('this kernel can not repeat requests for another (Linux 6.9 can)');
      if (performance.now() - goneSince > recoveryTime) throw this.lost('no other could be started');
      this.options.onWarning?.('the lazy server has died: another one takes over');
      await sleep(restartPause);
    }
  }

  /** Starts a server and waits for its end. Whether it had begun to serve. */
  private async runServer(): Promise<boolean> {
    if (this.options.signal?.aborted === true) return false;
    const settings = JSON.stringify({
      ...omit(this.options, 'signal', 'leave', 'onReady', 'onWarning'),
      takeOver: this.takesOver,
    });
    this.takesOver = true;
    const child = spawn(process.execPath, [join(__dirname, 'server-main.js'), settings], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', this.device.fd],
    });
    this.child = child;
    this.isReady = false;
    await new Promise<void>((ended) => {
      const end = (): void => {
        ended();
      };
      child.on('message', (message: ServerMessage) => {
        this.onMessage(message);
        if ('stays' in message) end();
      });
      child.once('exit', end).once('error', end);
    });
    if (this.hasLeft) {
      child.disconnect();
      child.unref();
    }
    this.child = null;
    return this.isReady;
  }

  private onMessage(message: ServerMessage): void {
    if ('ready' in message) {
      this.isReady = true;
      this.options.onReady?.(this.folder.socket);
      if (this.options.leave?.aborted === true) this.askToStay();
    }
    if ('resends' in message) this.resends = message.resends;
    if ('stays' in message) this.isDone = this.hasLeft = true;
    if ('idle' in message || 'ended' in message) this.end();
  }

  /** A server that is not ready yet is asked when it is. */
  private readonly askToStay = (): void => {
    if (this.resends === false || !canTakeOver()) this.end();
    else if (this.isReady) this.child?.send({ stay: true } satisfies KeeperMessage, () => undefined);
  };

  /** The next server runs what is installed now: so an upgrade takes effect while layers are read. */
  private readonly restart = (): void => {
    this.stopChild();
  };

  private end(): void {
    this.isDone = true;
    this.stopChild();
  }

  private stopChild(): void {
    const { child } = this;
    if (child === null) return;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), stopTime).unref();
  }

  private lost(why: string): Error {
    const hint = 'umount what is mounted lazily, or doctor --repair; then mount it again';
    return failure('FAILED', 'lazy server', `it has died, and ${why}`, hint);
  }
}
