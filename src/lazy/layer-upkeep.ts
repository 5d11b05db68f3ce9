import { SeekableErofsError } from '../errors';
import { makeRoom, markUsed, type CacheLimits } from './cache-room';
import { checkComplete, publishComplete } from './complete-layer';
import { isCancelled } from './error-kinds';
import type { FetchQueue } from './fetch-queue';
import type { LazyFolder } from './lazy-folder';
import type { ServedLayer, ServedLayers } from './served-layers';

/** What is stored becomes lasting this often; in milliseconds. */
const syncInterval = 1000;
/** Quiet before the background begins; in milliseconds. */
const quietTime = 10_000;
/** How often the cache is looked at: whether it has grown too large; in milliseconds. */
const roomInterval = 10_000;

interface LayerUpkeepParts {
  folder: LazyFolder;
  layers: ServedLayers;
  queue: FetchQueue;
  /** Bytes a second of the background; Infinity: as fast as it goes; 0: none. */
  backgroundRate: number;
  cacheLimits: CacheLimits;
  onWarning: (line: string) => void;
  /** A layer of which all is here is not what its image says. */
  onMisfit?: ((served: ServedLayer) => Promise<void>) | undefined;
}

/**
 * What is done for layers while nobody waits for it: what was stored becomes lasting, the rest is fetched, layers of which all is here are
 * checked and become ones that other mounts take, and room is made for them.
 */
export class LayerUpkeep {
  private readonly timers: NodeJS.Timeout[] = [];
  private lastRead = performance.now();
  private roomMaking: Promise<void> | null = null;
  private completing: Promise<void> | null = null;
  private isCacheFull = false;
  private lastWarning: string | null = null;

  constructor(private readonly parts: LayerUpkeepParts) {}

  start(): void {
    const every = (interval: number, work: () => void): void => {
      this.timers.push(setInterval(work, interval));
    };
    every(syncInterval, () => {
      void this.syncStores();
      this.fillInBackground();
    });
    every(roomInterval, () => {
      this.makeRoom();
    });
    this.makeRoom();
  }

  stop(): void {
    for (const timer of this.timers.splice(0)) clearInterval(timer);
  }

  /** Resolves when room was made once more: after the last layer nobody else will. */
  async makeLastRoom(): Promise<void> {
    await this.roomMaking;
    this.makeRoom();
    await this.roomMaking;
  }

  /** Somebody reads: the background waits. */
  onRead(): void {
    this.lastRead = performance.now();
  }

  /** Not waited for: who releases a layer has the state locked, and so would this. */
  makeRoom(): void {
    this.roomMaking ??= this.makeRoomOnce()
      .catch((error: unknown) => {
        this.parts.onWarning(`no room was made in the cache: ${(error as Error).message}`);
      })
      .finally(() => (this.roomMaking = null));
  }

  /** Asks for some MiB of a layer that is not all here, after a while without reads. */
  fillInBackground(): void {
    const { backgroundRate, layers, queue } = this.parts;
    if (backgroundRate === 0 || this.isCacheFull) return;
    if (performance.now() - this.lastRead < quietTime) return;
    for (const layer of layers.open) if (queue.waiting(layer) > 0 || layer.wantInBackground()) return;
  }

  private async makeRoomOnce(): Promise<void> {
    const { folder, layers, cacheLimits } = this.parts;
    await markUsed(
      folder.cachePlaces,
      (await layers.all()).map(({ request }) => request.key),
    );
    this.isCacheFull = (await makeRoom(folder.cachePlaces, cacheLimits)).isOver;
  }

  private async syncStores(): Promise<void> {
    for (const layer of this.parts.layers.open) {
      await layer.store.sync().catch((error: unknown) => {
        this.warnOnce((error as Error).message);
      });
    }
    this.completing ??= this.completeLayers().finally(() => (this.completing = null));
  }

  /** Of what is tried again each second. */
  private warnOnce(message: string): void {
    if (message !== this.lastWarning) this.parts.onWarning(message);
    this.lastWarning = message;
  }

  /** Layers of which everything is here become ones that other mounts take, one after the other. */
  private async completeLayers(): Promise<void> {
    for (const served of await this.parts.layers.all()) {
      try {
        // What an earlier server stored and is not as it was is missing: the layer is not wrong for that.
        if (served.wasChecked || !(await served.opened.store.checkAll())) continue;
        served.wasChecked = true;
        await this.complete(served);
      } catch (error) {
        // Closed meanwhile: the next server of it goes on.
        if (!isCancelled(error)) this.parts.onWarning((error as Error).message);
      }
    }
  }

  private async complete(served: ServedLayer): Promise<void> {
    const { request, opened, answer } = served;
    try {
      await checkComplete(request, opened);
    } catch (error) {
      if (!(error instanceof SeekableErofsError) || error.code !== 'MISMATCH') throw error;
      // Its frames are what their table says, and the layer is not what the image says.
      this.parts.onWarning(`${error.message}; its store is emptied`);
      await this.parts.layers.empty(served);
      await this.parts.onMisfit?.(served);
      return;
    }
    if (request.record !== undefined) return; // nobody else asks for it by its key
    const { content } = this.parts.folder.cachePlaces;
    await publishComplete(content, request, opened, answer.verity);
  }
}
