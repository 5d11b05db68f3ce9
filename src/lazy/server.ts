import type { Server } from 'node:net';
import { native, type FuseEvent, type NativeFuseServer } from '../native/binding';
import type { CacheLimits } from './cache-room';
import { FetchQueue } from './fetch-queue';
import { LayerUpkeep } from './layer-upkeep';
import type { LazyFolder } from './lazy-folder';
import type { LazyObserver } from './lazy-layer';
import { answerCalls, type LazyStatus } from './messages';
import { ServedLayers } from './served-layers';
import { listenOn } from './socket';

/** Requests under way at once, over all layers. */
const defaultRequests = 24;
const fuseThreads = 2;
/** How often it is looked whether anybody needs the server; in milliseconds. */
const idleInterval = 1000;
/** A mount that has begun may not have asked for its layers yet; in milliseconds. */
const idleTime = 10_000;

/** How a lazy server behaves. */
interface LazyServerOptions {
  /** How long a reader waits for what can't be had; in milliseconds. */
  ioTimeout: number;
  /** Bytes a second of the background; Infinity: as fast as it goes; 0: none. */
  backgroundRate: number;
  cacheLimits: CacheLimits;
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
  private idleTimer: NodeJS.Timeout | undefined;
  private server: Server | null = null;
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
    const onDrained = (): void => {
      this.upkeep.fillInBackground();
    };
    const { fuse } = this;
    this.layers = new ServedLayers({ folder, fuse, queue, ioTimeout, observer, onWarning, onDrained });
    const { layers } = this;
    this.upkeep = new LayerUpkeep({ folder, layers, queue, backgroundRate, cacheLimits, onWarning });
  }

  /** Goes on with the layers of a server before, answers the kernel, then listens. `takeOver`: that one had answered the kernel. */
  async start(takeOver: boolean): Promise<void> {
    await this.layers.reopen();
    this.fuse.start(takeOver);
    this.idleTimer = setInterval(() => {
      // One that took over may have come after the last layer went.
      if (this.layers.size === 0 && performance.now() - this.lastHold > idleTime) this.options.onIdle?.();
    }, idleInterval);
    await this.listen();
    this.upkeep.start();
  }

  /** Leaves the mount to the next server: reads that wait stay unanswered. What was stored becomes lasting. */
  async stop(): Promise<void> {
    clearInterval(this.idleTimer);
    this.upkeep.stop();
    this.server?.close();
    await this.layers.endRecordings();
    this.fuse.stop();
    await this.layers.close();
    if (this.layers.size === 0) await this.upkeep.makeLastRoom();
  }

  /** All layers that are served now. */
  statuses(): Promise<LazyStatus[]> {
    return this.layers.statuses();
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
      answerCalls(socket, {
        add: ({ holder, ...request }) => {
          this.lastHold = performance.now();
          return this.layers.hold(request, holder);
        },
        release: ({ keys, holder }) => this.release(keys, holder),
        status: async () => ({ pid: process.pid, version: '1', layers: await this.statuses() }),
      });
    });
  }

  private async release(keys: readonly string[], holder?: string): Promise<Record<string, never>> {
    await this.layers.release(keys, holder);
    this.upkeep.makeRoom();
    if (this.layers.size === 0) setImmediate(() => this.options.onIdle?.());
    return {};
  }
}
