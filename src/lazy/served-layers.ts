import { rm } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { acquireLock, type Lock } from '../fs/lock';
import { chunkAt } from '../layer/decoded-range';
import type { TraceRead } from '../format/trace';
import { roleOf } from '../image/composition';
import { metadataSize } from '../layer/metadata-size';
import { omit } from '../oci/json';
import type { FuseEvent, FuseFile, NativeFuseServer } from '../native/fuse-server';
import { AttachedTraces } from './attached-traces';
import { storeLock } from './cache-room';
import { verityOfLayer } from './complete-layer';
import { DecodeBudget } from './decode-budget';
import { isCancelled } from './error-kinds';
import type { FetchQueue } from './fetch-queue';
import { LayerList, readLayers, type ListedLayer } from './layer-list';
import { LayerSources } from './layer-sources';
import { nodeOf, type LazyFolder } from './lazy-folder';
import { LazyLayer } from './lazy-layer';
import type { LazyObserver } from './observer';
import { mountsHolder, type LazyLayerAnswer, type LazyLayerRequest, type LazyStatus } from './messages';
import { checkDescriptor, openLayer, type OpenedLayer } from './open-layer';
import { givenReads, prefetchHotPart, prefetchReads } from './prefetch';
import { Recordings } from './recordings';

/** Decoded bytes in memory at once, over all layers. */
const decodedInMemory = 32 << 20;
/** A store may be in the hands of somebody who makes room, or of a server that is ending; in milliseconds. */
const storeTime = 10_000;
/** Stored bytes at the beginning of a layer that are fetched at once: the metadata of most, which says how much more there is. */
const usualMetadata = 512 << 10;
/** Of metadata that is fetched before a layer is handed out. */
const maxMetadata = 64 << 20;

/** A layer in use. */
export interface ServedLayer {
  request: LazyLayerRequest;
  layer: LazyLayer;
  answer: LazyLayerAnswer;
  opened: OpenedLayer;
  /** Who has it in use: it goes with the last of them. */
  holders: Set<string>;
  /** Of its store. */
  lock: Lock;
  /** It was complete, and was looked at as a whole. */
  wasChecked: boolean;
}

/** What the layers of a server have in common. */
interface ServedLayersParts {
  folder: LazyFolder;
  /** Shows each layer as a file. */
  fuse: NativeFuseServer;
  queue: FetchQueue;
  /** How long a reader waits at most, in milliseconds. */
  ioTimeout: number;
  onWarning: (line: string) => void;
  observer?: LazyObserver | undefined;
  /** What the background asked for of a layer is here, or will not come. */
  onDrained: () => void;
  /** A layer has another file in the place of the one that it had. */
  onEmptied?: ((served: ServedLayer) => void) | undefined;
}

/**
 * The layers in use, each opened from a descriptor and the places that have its blob, and shown as a file until its last holder releases
 * it. It knows nothing of mounts: they are one holder among others. What is in use is on disk, for a server that takes over.
 */
export class ServedLayers {
  private readonly layers = new Map<string, Promise<ServedLayer>>();
  /** Layers whose metadata does not have to be here yet, by key. */
  private readonly opening = new Map<string, Promise<LazyLayerAnswer>>();
  private readonly byNode = new Map<number, LazyLayer>();
  private readonly sources = new LayerSources();
  private readonly attached: AttachedTraces;
  private readonly decoding = new DecodeBudget(decodedInMemory);
  private readonly recordings: Recordings;
  private readonly list: LayerList;

  constructor(private readonly parts: ServedLayersParts) {
    const { folder, onWarning } = parts;
    this.recordings = new Recordings(onWarning);
    this.attached = new AttachedTraces(this.sources, onWarning);
    this.list = new LayerList(folder.layers, async () =>
      (await this.all()).map(({ request, holders }) => ({ ...request, holders: [...holders] })),
    );
  }

  /** How many are in use, or are being opened. */
  get size(): number {
    return this.layers.size;
  }

  /** Those whose files can be read. */
  get open(): Iterable<LazyLayer> {
    return this.byNode.values();
  }

  /** All in use, once those that are being opened are. */
  async all(): Promise<ServedLayer[]> {
    const settled = await Promise.allSettled(this.layers.values());
    return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  private isInUse({ request: { key }, layer }: ServedLayer): boolean {
    return this.layers.has(key) && this.byNode.get(layer.node) === layer;
  }

  /** What the FUSE server tells of a layer's file. */
  onEvent(event: FuseEvent): void {
    this.byNode.get(event.node)?.onEvent(event);
  }

  /** Opens a layer for `holder`, unless it is open already; resolves when its metadata is here. Errors as openLayer(). */
  async hold(request: LazyLayerRequest, holder = mountsHolder): Promise<LazyLayerAnswer> {
    const { key } = request;
    for (;;) {
      // Another holder's may be under way; when that fails, this one tries itself.
      while (this.opening.has(key)) await this.opening.get(key)!.catch(() => undefined);
      const known = this.layers.get(key);
      if (known === undefined) break;
      const served = await known;
      if (this.layers.get(key) === known) return this.share(served, request, holder);
    }
    const opening = this.openFirst(request, holder).finally(() => this.opening.delete(key));
    this.opening.set(key, opening);
    return opening;
  }

  /** Lets go of layers on behalf of `holder`; those that nobody else has are closed, and reads of them that wait fail. */
  async release(keys: readonly string[], holder = mountsHolder): Promise<void> {
    const unheld: ServedLayer[] = [];
    for (const key of keys) {
      const served = await this.layers.get(key)?.catch(() => null);
      served?.holders.delete(holder);
      if (served?.holders.size === 0) unheld.push(served);
    }
    await this.recordings.end(unheld.map(({ request }) => request.key));
    // Somebody may have asked for it meanwhile.
    for (const served of unheld)
      if (served.holders.size === 0 && this.isInUse(served)) await this.drop(served.request.key);
    // On a full disk it says more than is in use until the next write; the next release mends that.
    await this.list.save().catch((error: unknown) => {
      this.parts.onWarning((error as Error).message);
    });
  }

  /** How often a layer's file is open, as far as this server knows: what was opened before it took over is not counted. */
  openedOf({ layer }: ServedLayer): number {
    return this.parts.fuse.counts(layer.node)?.opened ?? 0;
  }

  /** Goes on with the layers of a server before, and opens `more`. */
  async reopen(more: readonly ListedLayer[] = []): Promise<void> {
    for (const { holders, ...request } of joined([
      ...(await readLayers(this.parts.folder.layers)),
      ...more,
    ])) {
      try {
        const served = await this.serve(request, holders, { later: true });
        this.layers.set(request.key, Promise.resolve(served));
        await this.record(served, true);
      } catch (error) {
        // Its readers get EIO: the file is not there.
        this.parts.onWarning(`layer ${request.diffId}: ${(error as Error).message}`);
      }
    }
  }

  /** Forgets what is here of a layer; its readers wait for what is fetched anew. */
  async empty(served: ServedLayer): Promise<void> {
    const { request, opened, layer } = served;
    opened.shared?.forget();
    await opened.store.clear();
    // At once, so that hardly a reader finds it gone.
    this.parts.fuse.remove(layer.node);
    this.parts.fuse.add(fuseFile(request, opened));
    this.parts.onEmptied?.(served);
  }

  /** What was recorded is written. */
  async endRecordings(): Promise<void> {
    await this.recordings.close();
  }

  /** Closes all, and leaves them in use: for the server that takes over. What was stored becomes lasting. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.layers.values()].map(async (served) => closeServed(await served)));
  }

  /** All layers in figures. */
  async statuses(): Promise<LazyStatus[]> {
    return (await this.all()).map((served) => this.statusOf(served));
  }

  private statusOf({ request: { key, diffId }, layer, holders }: ServedLayer): LazyStatus {
    const none = { waiting: 0, reads: 0, bytesRead: 0, hits: 0, bytesHit: 0, opened: 0 };
    const counts = omit(this.parts.fuse.counts(layer.node) ?? none, 'opened');
    return { key, diffId, holders: [...holders], ...layer.counts(), ...counts };
  }

  private async openFirst(request: LazyLayerRequest, holder: string): Promise<LazyLayerAnswer> {
    const serving = this.serve(request, [holder]);
    this.layers.set(request.key, serving);
    const attached = this.attached.readsFor(request);
    try {
      const served = await serving;
      const { layer, answer, opened } = served;
      // A device has no files by which anything could be foreseen.
      const isDevice = roleOf(request.descriptor) === 'device';
      if (!isDevice) await fetchMetadata(layer, answer.size, prefetchHotPart(layer, answer.size, request));
      await this.record(served, false);
      if (!isDevice) void this.prefetchLater(served, (await givenReads(request)) ?? attached);
      await this.list.save();
      return { ...answer, isFromDisk: opened.isFromDisk };
    } catch (error) {
      await this.drop(request.key);
      throw error;
    }
  }

  /** Whoever asked for the layer does not wait for what is attached to its image, nor for the looking up of what a trace names. */
  private async prefetchLater(
    served: ServedLayer,
    expected: readonly TraceRead[] | Promise<readonly TraceRead[]>,
  ): Promise<void> {
    const { request, layer, answer } = served;
    try {
      const reads = await expected;
      if (this.isInUse(served)) await prefetchReads(layer, answer.size, request, reads);
    } catch (error) {
      if (!isCancelled(error)) this.parts.onWarning((error as Error).message);
    }
  }

  /** A layer that is open already: another descriptor of it is held against its own blob, which is not read further. */
  private async share(
    served: ServedLayer,
    request: LazyLayerRequest,
    holder: string,
  ): Promise<LazyLayerAnswer> {
    const isNew = !served.holders.has(holder);
    served.holders.add(holder); // now, so that it is not closed meanwhile
    try {
      const isSame = isSameBlob(served.request, request);
      if (!isSame) await checkDescriptor(request, this.sources, this.parts.onWarning);
      if (isNew) await this.list.save();
      return { ...served.answer, isFromDisk: isSame };
    } catch (error) {
      if (isNew) await this.release([request.key], holder);
      throw error;
    }
  }

  private async serve(
    request: LazyLayerRequest,
    holders: readonly string[],
    { later = false } = {},
  ): Promise<ServedLayer> {
    const lock = await acquireLock(storeLock(this.parts.folder.storeOf(request.key)), {
      timeout: storeTime,
      mode: 0o600,
    });
    try {
      const served = await this.serveLocked(request, later);
      return { ...served, holders: new Set(holders), lock, wasChecked: false };
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private async serveLocked(
    request: LazyLayerRequest,
    later: boolean,
  ): Promise<Omit<ServedLayer, 'lock' | 'wasChecked' | 'holders'>> {
    const { folder, fuse, queue, ioTimeout, onWarning, observer, onDrained } = this.parts;
    const opened = await openLayer(folder.storeOf(request.key), request, this.sources, { onWarning, later });
    const node = nodeOf(request.key);
    const { chunks, store, sources, shared } = opened;
    const common = { fuse, queue, decoding: this.decoding, ioTimeout, onWarning, observer, onDrained };
    const layer = new LazyLayer({ node, chunks, store, sources, shared, ...common });
    try {
      fuse.add(fuseFile(request, opened));
    } catch (error) {
      await layer.close();
      throw error;
    }
    this.byNode.set(node, layer);
    return { request, layer, opened, answer: this.describe(request, opened) };
  }

  private describe(request: LazyLayerRequest, opened: OpenedLayer): LazyLayerAnswer {
    const path = this.parts.folder.fileOf(request.key);
    const verity = verityOfLayer(request, opened);
    const size = opened.chunks.starts.at(-1)!;
    return { path, size: verity === null ? Math.min(size, opened.blob.imageSize) : size, verity };
  }

  private async drop(key: string): Promise<void> {
    const serving = this.layers.get(key);
    this.layers.delete(key); // now: who drops it as well must not close it again
    const served = await serving?.catch(() => null);
    if (served == null) return;
    const { layer, request } = served;
    this.parts.fuse.remove(layer.node);
    this.byNode.delete(layer.node);
    // What could not be stored, as on a full disk, is fetched again.
    await closeServed(served).catch((error: unknown) => {
      this.parts.onWarning((error as Error).message);
    });
    // Nobody else asks for it by its key.
    if (request.record !== undefined)
      await rm(this.parts.folder.storeOf(key), { recursive: true, force: true });
  }

  private async record({ request, layer, answer }: ServedLayer, goesOn: boolean): Promise<void> {
    const { record, key, diffId } = request;
    if (record === undefined) return;
    const recorded = {
      diffId,
      source: layer.asSource(answer.size),
      began: Date.now(),
      takeReads: () => this.parts.fuse.takeReads(layer.node),
    };
    await this.recordings.add(record, key, recorded, goesOn);
  }
}

/** Each layer once, with all who have it in use. */
function joined(layers: readonly ListedLayer[]): (LazyLayerRequest & { holders: string[] })[] {
  const byKey = new Map<string, LazyLayerRequest & { holders: string[] }>();
  for (const { holders = [mountsHolder], ...request } of layers) {
    const known = byKey.get(request.key)?.holders ?? [];
    byKey.set(request.key, {
      ...(byKey.get(request.key) ?? request),
      holders: [...new Set([...known, ...holders])],
    });
  }
  return [...byKey.values()];
}

function fuseFile({ key, record }: LazyLayerRequest, { store, chunks }: OpenedLayer): FuseFile {
  return {
    node: nodeOf(key),
    name: key,
    fd: store.fd,
    starts: chunks.starts,
    present: store.checked,
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

/**
 * Resolves when the layer's metadata is here. Where a hot part of `hotChunks` comes right behind it, what is more than usual of it is on its
 * way.
 */
async function fetchMetadata(layer: LazyLayer, size: number, hotChunks: number): Promise<void> {
  const usual = layer.chunksWithin(usualMetadata);
  if (hotChunks > 0) {
    await layer.fetchNow(0, Math.min(usual, hotChunks));
    return;
  }
  await layer.fetchNow(0, usual);
  const end = Math.min(await metadataSize(layer.asSource(size)), maxMetadata);
  if (end === 0) return;
  const count = chunkAt(layer.starts, end - 1) + 1;
  await layer.fetchNow(0, count);
  layer.foresee(count);
}
