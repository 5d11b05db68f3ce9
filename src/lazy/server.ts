import type { Server, Socket } from 'node:net';
import { native } from '../native/binding';
import type { FuseEvent, NativeFuseServer } from '../native/fuse-server';
import { failure } from '../errors';
import type { CacheLimits } from './cache-room';
import { showCacheAt } from './erofs-cache/cache-mount';
import { CachedImages, isImageHolder } from './erofs-cache/cached-images';
import { FetchQueue } from './fetch-queue';
import { LayerUpkeep } from './layer-upkeep';
import type { LazyFolder } from './lazy-folder';
import type { LazyObserver } from './observer';
import { answerCalls, type LazyAnswers, type LazyStatus } from './messages';
import { ServedLayers, type ServedLayer } from './served-layers';
import { listenOn } from './socket';

/** Requests under way at once, over all layers. */
const defaultRequests = 24;
const fuseThreads = 2;
/** How often it is looked whether anybody needs the server; in milliseconds. */
const idleInterval = 1000;
/** A mount that has begun may not have asked for its layers yet; in milliseconds. */
const idleTime = 10_000;
/** How often the images of the cache are looked after; in milliseconds. */
const tendInterval = 10_000;

/** How a lazy server behaves. */
interface LazyServerOptions {
  /** How long a reader waits for what can't be had; in milliseconds. */
  ioTimeout: number;
  /** Bytes a second of the background; Infinity: as fast as it goes; 0: none. */
  backgroundRate: number;
  cacheLimits: CacheLimits;
  /** Where images are shown as containerd's layer content cache. */
  erofsCache?: string | undefined;
  /** Whether nobody would start another server: this one goes when nothing that it shows is mounted. */
  isLast?: (() => boolean) | undefined;
  onWarning: (line: string) => void;
  /** Is told what layers do. */
  observer?: LazyObserver | undefined;
  /** The FUSE mount was set up with the kernel; whether another server could take over. */
  onInitialised?: ((resends: boolean) => void) | undefined;
  /** The FUSE mount is gone. */
  onEnded?: (() => void) | undefined;
  /** No layer is in use any more. */
  onIdle?: (() => void) | undefined;
}

/**
 * Serves layers as files of a FUSE mount, which fill as they are read, and takes the calls of their holders on a socket. It never touches
 * the mount itself.
 */
export class LazyServer {
  private readonly layers: ServedLayers;
  private readonly upkeep: LayerUpkeep;
  private readonly fuse: NativeFuseServer;
  /** Null without a cache. */
  readonly images: CachedImages | null;
  private readonly timers: NodeJS.Timeout[] = [];
  private server: Server | null = null;
  /** Of those who may call. */
  private readonly sockets = new Set<Socket>();
  private lastHold = performance.now();

  /** @param device of the FUSE mount, which is there already */
  constructor(
    private readonly folder: LazyFolder,
    device: number,
    private readonly options: LazyServerOptions,
  ) {
    const { backgroundRate, cacheLimits, ioTimeout, observer, onWarning } = options;
    const queue = new FetchQueue({ requests: defaultRequests, backgroundRate });
    this.fuse = new native.FuseServer({ fd: device, threads: fuseThreads }, (event) => {
      this.onEvent(event);
    });
    const { fuse } = this;
    const common = { folder, queue, onWarning };
    this.layers = new ServedLayers({
      ...common,
      fuse,
      ioTimeout,
      observer,
      onDrained: () => {
        this.upkeep.fillInBackground();
      },
      onEmptied: (served) => {
        this.images?.onEmptied(served);
      },
    });
    const { layers } = this;
    const onMisfit = async (served: ServedLayer): Promise<void> => this.images?.onMisfit(served);
    this.upkeep = new LayerUpkeep({ ...common, layers, backgroundRate, cacheLimits, onMisfit });
    const { keep } = cacheLimits;
    const hasCache = options.erofsCache !== undefined;
    this.images = hasCache ? new CachedImages({ folder, layers, fuse, keep, onWarning }) : null;
  }

  /** Goes on with the layers of a server before, answers the kernel, then listens. `takeOver`: that one had answered the kernel. */
  async start(takeOver: boolean): Promise<void> {
    await this.layers.reopen(await this.images?.load());
    await this.images?.restore();
    this.fuse.start(takeOver);
    const { erofsCache } = this.options;
    if (erofsCache !== undefined) await showCacheAt(erofsCache, this.folder.mountPoint);
    this.every(idleInterval, () => this.lookForIdleness());
    this.every(tendInterval, async () => this.images?.tend());
    await this.listen();
    this.upkeep.start();
  }

  /** Leaves the mount to the next server: reads that wait stay unanswered. What was stored becomes lasting. */
  async stop(): Promise<void> {
    for (const timer of this.timers.splice(0)) clearInterval(timer);
    this.upkeep.stop();
    this.server?.close();
    // Calls under way are the next server's: their callers ask that again.
    for (const socket of this.sockets) socket.end();
    await this.layers.endRecordings();
    this.fuse.stop();
    await this.layers.close();
    if (this.layers.size === 0) await this.upkeep.makeLastRoom();
  }

  /** All layers that are served now. */
  statuses(): Promise<LazyStatus[]> {
    return this.layers.statuses();
  }

  /** Whether nothing is mounted of what is served. */
  async isIdle(): Promise<boolean> {
    return this.layers.size === 0 || (await this.isCacheAlone());
  }

  private every(interval: number, work: () => Promise<void>): void {
    let isBusy = false;
    const once = (): void => {
      if (isBusy) return;
      isBusy = true;
      work()
        .catch((error: unknown) => {
          this.options.onWarning((error as Error).message);
        })
        .finally(() => (isBusy = false));
    };
    this.timers.push(setInterval(once, interval));
  }

  /** One that took over may have come after the last layer went. */
  private async lookForIdleness(): Promise<void> {
    if (performance.now() - this.lastHold <= idleTime) return;
    const { onIdle, isLast } = this.options;
    const isIdle = this.layers.size === 0 || (isLast?.() === true && (await this.isCacheAlone()));
    if (isIdle) onIdle?.();
  }

  /** Whether all that is served is shown by the cache alone, and nothing of it is mounted. */
  private async isCacheAlone(): Promise<boolean> {
    const layers = await this.layers.all();
    const isOnlyShown = layers.every(({ holders }) => [...holders].every(isImageHolder));
    return isOnlyShown && this.images !== null && (await this.images.isUnused());
  }

  private onEvent(event: FuseEvent): void {
    if (event.kind === 'initialised') {
      this.options.onInitialised?.(event.resends);
    } else if (event.kind === 'ended') {
      this.options.onEnded?.();
    } else {
      this.upkeep.onRead();
      this.layers.onEvent(event);
    }
  }

  private async listen(): Promise<void> {
    this.server = await listenOn(this.folder.socket, (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      answerCalls(socket, {
        add: ({ holder, ...request }) => {
          this.lastHold = performance.now();
          return this.layers.hold(request, holder);
        },
        release: ({ keys, holder }) => this.release(keys, holder),
        status: async () => ({ pid: process.pid, version: '1', layers: await this.statuses() }),
        ...this.imageCalls(),
      });
    });
  }

  private imageCalls(): LazyAnswers {
    const cache = (): CachedImages => {
      if (this.images !== null) return this.images;
      throw failure('FAILED', 'lazy server', 'it shows no cache', 'serve --erofs-cache DIR');
    };
    return {
      addImage: async (request) => cache().add(request),
      removeImage: async ({ reference }) => {
        await cache().remove(reference);
        this.upkeep.makeRoom();
        return {};
      },
      images: async () => ({ images: await cache().list() }),
    };
  }

  private async release(keys: readonly string[], holder?: string): Promise<Record<string, never>> {
    await this.layers.release(keys, holder);
    this.upkeep.makeRoom();
    if (this.layers.size === 0) setImmediate(() => this.options.onIdle?.());
    return {};
  }
}
