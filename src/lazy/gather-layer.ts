import { SeekableErofsError, failure } from '../errors';
import { tryPrivateLock } from '../fs/lock';
import type { JobOptions, WarningOptions } from '../job';
import { unlessAborted } from '../layer/shared-work';
import type { SourceStore } from '../oci/store';
import { storeLock } from './cache-room';
import { isWrong } from './error-kinds';
import { checkComplete, publishComplete, verityOfLayer } from './complete-layer';
import { DecodeBudget } from './decode-budget';
import { FetchQueue } from './fetch-queue';
import type { LazyFolder } from './lazy-folder';
import { LazyLayer } from './lazy-layer';
import { LayerSources } from './layer-sources';
import type { LazyLayerRequest } from './messages';
import type { LazyObserver } from './observer';
import { openLayer, type OpenedLayer } from './open-layer';

/** Requests under way at once. */
const requests = 8;
/** Decoded bytes in memory at once. */
const decodedInMemory = 32 << 20;
/** Stored bytes that are asked for in one request, where no other store has any of them. */
const runBytes = 16 << 20;
/** Chunks that are waited for together; then what came becomes lasting. */
const windowChunks = 2000;
/** Nobody waits for a single chunk, and what does not come any more the source ends; in milliseconds, the longest time of a timer. */
const noLimit = 2 ** 31 - 1;
const nothing = (): void => undefined;
/** The layer's file is read when all of it is here. */
const noReaders = { stored: nothing, delivered: nothing, failed: nothing };

interface GatherParts extends JobOptions, WarningOptions {
  folder: LazyFolder;
  /** Has the layer's blob; it stays open. */
  from: SourceStore;
}

/**
 * Makes a layer a decoded one, as the lazy server does with a layer of which all is here: what other stores have of its chunks is taken
 * there, the rest comes from its blob, and the whole is held against its DiffID and the root digest of its tree. Its own store stays, for
 * other layers.
 * @returns false when the layer has to be read as a whole: its store is in use, or (with a warning) what was gathered is not the layer
 * @throws IO of the network, NO_SPACE, CANCELLED
 */
export async function gatherLayer(request: LazyLayerRequest, parts: GatherParts): Promise<boolean> {
  const folder = parts.folder.storeOf(request.key);
  const lock = await tryPrivateLock(storeLock(folder));
  if (lock === null) return false;
  try {
    const onWarning = parts.onWarning ?? nothing;
    const opened = await openLayer(folder, request, new LayerSources(parts.from), { onWarning });
    await gather(request, opened, parts);
    return true;
  } catch (error) {
    if (!isWrong(error) && !isRefusal(error)) throw error;
    parts.onWarning?.(`${(error as Error).message}; the layer is fetched as a whole`);
    return false;
  } finally {
    await lock.release();
  }
}

/** What a layer is refused with that may be read without its table. */
function isRefusal(error: unknown): boolean {
  return error instanceof SeekableErofsError && ['UNVERIFIED', 'UNSUPPORTED'].includes(error.code);
}

async function gather(request: LazyLayerRequest, opened: OpenedLayer, parts: GatherParts): Promise<void> {
  const { store, blob } = opened;
  const layer = layerOf(opened, parts);
  try {
    if (blob.lacksSuperblock)
      throw failure(
        'CORRUPT',
        opened.sources[0]!.name,
        'there is no superblock where its dm-verity tree should begin',
      );
    for (let first = 0; first < store.chunks; first += windowChunks) {
      const filling = fillWindow(layer, first, Math.min(first + windowChunks, store.chunks));
      filling.catch(() => undefined); // nobody is there to handle it once it was cancelled
      await unlessAborted(filling, request.diffId, parts.signal);
    }
    if (!(await store.checkAll()))
      throw failure('NO_SPACE', store.path, 'not all chunks of the layer could be stored');
    await checkComplete(request, opened).catch(async (error: unknown) => {
      await store.clear();
      throw error;
    });
    const { content } = parts.folder.cachePlaces;
    await publishComplete(content, request, opened, verityOfLayer(request, opened));
  } finally {
    await layer.close();
  }
}

/** Neighbours that no other store has come in one request. */
async function fillWindow(layer: LazyLayer, first: number, end: number): Promise<void> {
  for (let chunk = first; chunk < end;) {
    const { offset } = layer.rangeOf(chunk);
    let runEnd = chunk + 1;
    while (runEnd < end && layer.rangeOf(runEnd).offset < offset + runBytes) runEnd++;
    for (; chunk < runEnd; chunk++) layer.want(chunk, 'ahead', runEnd);
  }
  await layer.fetchNow(first, end);
  await layer.store.sync();
}

function layerOf({ chunks, store, sources, shared }: OpenedLayer, parts: GatherParts): LazyLayer {
  return new LazyLayer({
    chunks,
    store,
    sources,
    shared,
    node: 0,
    fuse: noReaders,
    queue: new FetchQueue({ requests, backgroundRate: 0 }),
    decoding: new DecodeBudget(decodedInMemory),
    ioTimeout: noLimit,
    onWarning: parts.onWarning ?? nothing,
    observer: progressOf(sources[0]!, parts),
  });
}

/** Tells with each request how much came before. */
function progressOf(
  { name, size }: { name: string; size: number },
  { onProgress }: JobOptions,
): LazyObserver {
  let done = 0;
  return {
    onRequest: () => onProgress?.({ phase: 'fetch', item: name, done, total: size, unit: 'bytes' }),
    onFetched: ({ bytes }) => (done += bytes),
    onDemand: nothing,
    onFault: nothing,
  };
}
