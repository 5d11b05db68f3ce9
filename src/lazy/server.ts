import { Semaphore } from 'async-mutex';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { SeekableErofsError } from '../errors';
import { acquireLock, type Lock } from '../fs/lock';
import { chunkAt } from '../layer/decoded-range';
import { metadataSize } from '../layer/metadata-size';
import { materialisedTree } from '../layer/materialise';
import { native, type FuseEvent, type FuseFile, type NativeFuseServer } from '../native/binding';
import { makeRoom, storeLock, type CacheLimits } from './cache-room';
import { checkComplete, publishComplete } from './complete-layer';
import { FetchQueue } from './fetch-queue';
import { LayerList, readLayers } from './layer-list';
import { LayerSources } from './layer-sources';
import { prefetch } from './prefetch';
import { Recordings } from './recordings';
import { nodeOf, type LazyFolder } from './lazy-folder';
import { LazyLayer, type LazyObserver } from './lazy-layer';
import { answerCalls, type LazyLayerAnswer, type LazyLayerRequest, type LazyStatus } from './messages';
import { checkDescriptor, openLayer, type OpenedLayer } from './open-layer';
import { plainVerity } from './plain-verity';
import { listenOn } from './socket';

/** Requests under way at once, over all layers. */
const defaultRequests = 24;
/** Chunks decoded at once: what is in memory of them is bounded by this and their size. */
const decodersAtOnce = 2;
const fuseThreads = 2;
/** What is stored becomes lasting this often; in milliseconds. */
const syncInterval = 1000;
/** Quiet before the background begins; in milliseconds. */
const quietTime = 10_000;
/** How often the cache is looked at: whether it has grown too large; in milliseconds. */
const roomInterval = 10_000;
/** A store may be in the hands of somebody who makes room, or of a server that is ending; in milliseconds. */
const storeTime = 10_000;
/** Stored bytes at the beginning of a layer that are fetched at once: the metadata of most, which says how much more there is. */
const usualMetadata = 512 << 10;
/** Of metadata that is fetched before a mount returns. */
const maxMetadata = 64 << 20;

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

interface ServedLayer {
  request: LazyLayerRequest;
  layer: LazyLayer;
  answer: LazyLayerAnswer;
  opened: OpenedLayer;
  /** Of its store. */
  lock: Lock;
  /** It was complete, and was looked at as a whole. */
  wasChecked: boolean;
}

/**
 * Serves layers as files of a FUSE mount, which fill as they are read, and takes the calls of mounts on a socket. It never touches the mount
 * itself. What is in use is on disk: a server that takes over goes on with the same layers.
 */
export class LazyServer {
  private readonly layers = new Map<string, Promise<ServedLayer>>();
  /** Layers whose metadata does not have to be here yet, by key. */
  private readonly adding = new Map<string, Promise<LazyLayerAnswer>>();
  private readonly byNode = new Map<number, LazyLayer>();
  private readonly sources = new LayerSources();
  private readonly queue: FetchQueue;
  private readonly decoding = new Semaphore(decodersAtOnce);
  private readonly fuse: NativeFuseServer;
  private readonly recordings: Recordings;
  private readonly list: LayerList;
  private readonly timers: NodeJS.Timeout[] = [];
  private server: Server | null = null;
  private lastRead = performance.now();
  private lastAdd = performance.now();
  private roomMaking: Promise<void> | null = null;
  private completing: Promise<void> | null = null;
  private isCacheFull = false;
  private lastWarning: string | null = null;

  /** @param device of the FUSE mount, which is there already */
  constructor(
    private readonly folder: LazyFolder,
    device: number,
    private readonly options: LazyServerOptions,
  ) {
    this.queue = new FetchQueue({ requests: defaultRequests, backgroundRate: options.backgroundRate });
    this.recordings = new Recordings(options.onWarning);
    this.list = new LayerList(folder.layers, async () => (await this.served()).map(({ request }) => request));
    this.fuse = new native.FuseServer({ fd: device, threads: fuseThreads }, (event) => {
      this.onEvent(event);
    });
  }

  /** Goes on with the layers of a server before, answers the kernel, then listens. `takeOver`: that one had answered the kernel. */
  async start(takeOver: boolean): Promise<void> {
    await this.reopen();
    this.fuse.start(takeOver);
    this.timers.push(
      setInterval(() => void this.syncStores(), syncInterval),
      setInterval(() => {
        this.makeRoom();
      }, roomInterval),
      setInterval(() => {
        this.fillInBackground();
        // One that took over may have come after the last layer went.
        if (this.layers.size === 0 && performance.now() - this.lastAdd > quietTime) this.options.onIdle?.();
      }, syncInterval),
    );
    await this.listen();
    this.makeRoom();
  }

  /** Leaves the mount to the next server: reads that wait stay unanswered. What was stored becomes lasting. */
  async stop(): Promise<void> {
    for (const timer of this.timers.splice(0)) clearInterval(timer);
    this.server?.close();
    await this.recordings.close();
    this.fuse.stop();
    await Promise.allSettled([...this.layers.values()].map(async (served) => closeServed(await served)));
    if (this.layers.size > 0) return;
    // After the last layer nobody else will.
    await this.roomMaking;
    this.makeRoom();
    await this.roomMaking;
  }

  private onEvent(event: FuseEvent): void {
    if (event.kind === 'initialised') {
      this.options.onInitialised?.(event.resends);
    } else if (event.kind === 'ended') {
      this.options.onEnded?.();
    } else {
      this.lastRead = performance.now();
      this.byNode.get(event.node)?.onEvent(event);
    }
  }

  private async listen(): Promise<void> {
    this.server = await listenOn(this.folder.socket, (socket) => {
      answerCalls(socket, {
        add: (request) => this.add(request),
        release: ({ keys }) => this.release(keys),
        status: () => this.status(),
      });
    });
  }

  /** Serves a layer, if it does not yet; resolves when its metadata is here. */
  private async add(request: LazyLayerRequest): Promise<LazyLayerAnswer> {
    this.lastAdd = performance.now();
    const { key } = request;
    // Another mount's may be under way; when that fails, this one tries itself.
    while (this.adding.has(key)) await this.adding.get(key)!.catch(() => undefined);
    const known = this.layers.get(key);
    if (known !== undefined) return this.share(await known, request);
    const adding = this.addFirst(request).finally(() => this.adding.delete(key));
    this.adding.set(key, adding);
    return adding;
  }

  private async addFirst(request: LazyLayerRequest): Promise<LazyLayerAnswer> {
    const served = this.serve(request);
    this.layers.set(request.key, served);
    try {
      const { layer, answer, opened } = await served;
      await fetchMetadata(layer, answer.size);
      await this.record(request, layer, answer.size, false);
      await prefetch(layer, answer.size, request);
      await this.list.save();
      return { ...answer, isFromDisk: opened.isFromDisk };
    } catch (error) {
      await this.drop(request.key);
      throw error;
    }
  }

  /** A layer that is served already: another descriptor of it is held against its own blob, which is not read further. */
  private async share(known: ServedLayer, request: LazyLayerRequest): Promise<LazyLayerAnswer> {
    if (!isSameBlob(known.request, request))
      await checkDescriptor(request, this.sources, this.options.onWarning);
    return { ...known.answer, isFromDisk: isSameBlob(known.request, request) };
  }

  private async serve(request: LazyLayerRequest): Promise<ServedLayer> {
    const lock = await acquireLock(storeLock(this.folder.storeOf(request.key)), {
      timeout: storeTime,
      mode: 0o600,
    });
    try {
      return { ...(await this.serveLocked(request)), lock, wasChecked: false };
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private async serveLocked(request: LazyLayerRequest): Promise<Omit<ServedLayer, 'lock' | 'wasChecked'>> {
    const { onWarning } = this.options;
    const opened = await openLayer(this.folder.storeOf(request.key), request, this.sources, onWarning);
    const node = nodeOf(request.key);
    const { chunks, store, sources } = opened;
    const layer = new LazyLayer({
      node,
      chunks,
      store,
      sources,
      onWarning,
      fuse: this.fuse,
      queue: this.queue,
      decoding: this.decoding,
      ioTimeout: this.options.ioTimeout,
      observer: this.options.observer,
      onDrained: () => {
        this.fillInBackground();
      },
    });
    try {
      this.fuse.add(fuseFile(request, opened));
    } catch (error) {
      await layer.close();
      throw error;
    }
    this.byNode.set(node, layer);
    return { request, layer, opened, answer: this.describe(request, opened) };
  }

  private describe({ key, withTree }: LazyLayerRequest, { blob, chunks }: OpenedLayer): LazyLayerAnswer {
    const path = this.folder.fileOf(key);
    if (!withTree || blob.tree === null) {
      return { path, size: Math.min(chunks.starts.at(-1)!, blob.imageSize), verity: null };
    }
    return { path, size: chunks.starts.at(-1)!, verity: plainVerity(materialisedTree(blob.tree)) };
  }

  private async release(keys: readonly string[]): Promise<Record<string, never>> {
    await this.recordings.end(keys);
    for (const key of keys) await this.drop(key);
    // On a full disk it says more than is in use until the next write; the next umount releases that.
    await this.list.save().catch((error: unknown) => {
      this.options.onWarning((error as Error).message);
    });
    this.makeRoom();
    if (this.layers.size === 0) setImmediate(() => this.options.onIdle?.());
    return {};
  }

  private async drop(key: string): Promise<void> {
    const served = await this.layers.get(key)?.catch(() => null);
    this.layers.delete(key);
    if (served == null) return;
    const { layer, request } = served;
    this.fuse.remove(layer.node);
    this.byNode.delete(layer.node);
    // What could not be stored, as on a full disk, is fetched again.
    await closeServed(served).catch((error: unknown) => {
      this.options.onWarning((error as Error).message);
    });
    // Nobody else asks for it by its key.
    if (request.record !== undefined) await rm(this.folder.storeOf(key), { recursive: true, force: true });
  }

  private async status() {
    return { pid: process.pid, version: '1', layers: await this.statuses() };
  }

  /** All layers that are served now. */
  async statuses(): Promise<LazyStatus[]> {
    return (await this.served()).map((served) => this.statusOf(served));
  }

  private async served(): Promise<ServedLayer[]> {
    const settled = await Promise.allSettled(this.layers.values());
    return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  private statusOf({ request: { key, diffId }, layer }: ServedLayer): LazyStatus {
    const counts = this.fuse.counts(layer.node) ?? {
      waiting: 0,
      reads: 0,
      bytesRead: 0,
      hits: 0,
      bytesHit: 0,
    };
    return { key, diffId, ...layer.counts(), ...counts };
  }

  private async reopen(): Promise<void> {
    for (const request of await readLayers(this.folder.layers)) {
      try {
        const served = await this.serve(request);
        this.layers.set(request.key, Promise.resolve(served));
        await this.record(request, served.layer, served.answer.size, true);
      } catch (error) {
        // Its readers get EIO: the file is not there.
        this.options.onWarning(`layer ${request.diffId}: ${(error as Error).message}`);
      }
    }
  }

  private async record(
    { record, key, diffId }: LazyLayerRequest,
    layer: LazyLayer,
    size: number,
    goesOn: boolean,
  ): Promise<void> {
    if (record === undefined) return;
    const recorded = {
      diffId,
      source: layer.asSource(size),
      began: Date.now(),
      takeReads: () => this.fuse.takeReads(layer.node),
    };
    await this.recordings.add(record, key, recorded, goesOn);
  }

  private async syncStores(): Promise<void> {
    for (const layer of this.byNode.values()) {
      await layer.store.sync().catch((error: unknown) => {
        this.warnOnce((error as Error).message);
      });
    }
    this.completing ??= this.completeLayers().finally(() => (this.completing = null));
  }

  /** Of what is tried again each second. */
  private warnOnce(message: string): void {
    if (message !== this.lastWarning) this.options.onWarning(message);
    this.lastWarning = message;
  }

  /** Layers of which everything is here become ones that other mounts take, one after the other. */
  private async completeLayers(): Promise<void> {
    for (const [key, serving] of this.layers) {
      const served = await serving.catch(() => null);
      if (served === null || served.wasChecked || !served.opened.store.isComplete) continue;
      served.wasChecked = true;
      try {
        await this.complete(served);
      } catch (error) {
        // Released meanwhile, its file was closed: the next server of it goes on.
        if (this.layers.get(key) === serving) this.options.onWarning((error as Error).message);
      }
    }
  }

  private async complete(served: ServedLayer): Promise<void> {
    const { request, opened, answer, layer } = served;
    try {
      await checkComplete(request, opened);
    } catch (error) {
      if (!(error instanceof SeekableErofsError) || error.code !== 'MISMATCH') throw error;
      // Its frames are what their table says, and the layer is not what the image says.
      this.options.onWarning(`${error.message}; its store is emptied`);
      this.fuse.remove(layer.node);
      await opened.store.clear();
      this.fuse.add(fuseFile(request, opened));
      return;
    }
    if (request.record !== undefined) return; // nobody else asks for it by its key
    const { content } = this.folder.cachePlaces;
    await publishComplete(content, request, opened, answer.verity);
  }

  /** Not waited for: who releases a layer has the state locked, and so would this. */
  private makeRoom(): void {
    this.roomMaking ??= makeRoom(this.folder.cachePlaces, this.options.cacheLimits)
      .then(
        ({ isOver }) => {
          this.isCacheFull = isOver;
        },
        (error: unknown) => {
          this.options.onWarning(`no room was made in the cache: ${(error as Error).message}`);
        },
      )
      .finally(() => (this.roomMaking = null));
  }

  private fillInBackground(): void {
    if (this.options.backgroundRate === 0 || this.isCacheFull) return;
    if (performance.now() - this.lastRead < quietTime) return;
    for (const layer of this.byNode.values()) {
      if (this.queue.waiting(layer) > 0 || layer.wantInBackground()) return;
    }
  }
}

function fuseFile({ key, record }: LazyLayerRequest, { store, chunks }: OpenedLayer): FuseFile {
  return {
    node: nodeOf(key),
    name: key,
    fd: store.fd,
    starts: chunks.starts,
    present: store.present,
    keepsLog: record !== undefined,
  };
}

/** Its store is open to others last of all. */
async function closeServed({ layer, lock }: ServedLayer): Promise<void> {
  try {
    await layer.close();
  } finally {
    await lock.release();
  }
}

function isSameBlob(a: LazyLayerRequest, b: LazyLayerRequest): boolean {
  return isDeepStrictEqual([a.descriptor, a.index], [b.descriptor, b.index]);
}

/** Resolves when the layer's metadata is here. */
async function fetchMetadata(layer: LazyLayer, size: number): Promise<void> {
  await layer.fetchNow(0, layer.chunksWithin(usualMetadata));
  const end = Math.min(await metadataSize(layer.asSource(size)), maxMetadata);
  if (end > 0) await layer.fetchNow(0, chunkAt(layer.starts, end - 1) + 1);
}
