import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { readSeekableAnnotations } from '../format/annotations';
import { checkDigestOf } from '../format/digest';
import type { LoneIndex } from '../layer/chunk-index-section';
import { roleOf } from '../image/composition';
import { isSeekableLayer, openSeekable, type SeekableBlob } from '../layer/seekable';
import type { Descriptor } from '../oci/types';
import { readAhead } from '../source/read-ahead';
import type { ByteSource } from '../source/byte-source';
import { ChunkList } from './chunk-list';
import { ChunkStore } from './chunk-store';
import { layerChunks, type LayerChunks } from './layer-chunks';
import type { LayerSource, LayerSources } from './layer-sources';
import type { LazyLayerRequest } from './messages';
import { SavedReads } from './saved-reads';
import { SharedChunks } from './shared-chunks';

/** In a store, what opening the blob read: with it the layer is opened without a network. */
export const tablesName = 'tables';
/** In a store, a chunk index that is a layer of its own. */
const indexName = 'index';
/** What is read at once where a blob's table may be: the superblock of a dm-verity tree lies behind it. */
const openingWindow = 32 << 10;
/** The largest table that is read at once: of some 500 GB in the usual chunks. */
const maxOpeningWindow = 8 << 20;

/** A layer whose tables are here and checked, and whose chunks are here in part. */
export interface OpenedLayer {
  blob: SeekableBlob;
  chunks: LayerChunks;
  store: ChunkStore;
  sources: LayerSource[];
  /** What other stores have of it. */
  shared: SharedChunks | null;
  /** Nothing was asked of a registry: whether it would still give the layer is not known. */
  isFromDisk: boolean;
}

/**
 * Opens a layer over its store in `folder`. Its tables are read from there when an earlier run kept them, else fetched, each checked
 * against the descriptor. UNVERIFIED, MISMATCH, CORRUPT when they don't fit it; UNSUPPORTED for a layer without tables.
 * `later`: places that have the blob are looked for when the first of its bytes is needed.
 */
export async function openLayer(
  folder: string,
  request: LazyLayerRequest,
  layerSources: LayerSources,
  { onWarning, later = false }: { onWarning: (line: string) => void; later?: boolean },
): Promise<OpenedLayer> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw fromSystemError(folder, error);
  });
  const sources = later
    ? layerSources.openLater(request, onWarning)
    : await layerSources.open(request, onWarning);
  try {
    const saved = await openSaved(folder, request, sources[0]!);
    const blob = saved ?? (await openFetched(folder, request, sources[0]!, layerSources, onWarning));
    const isDevice = roleOf(request.descriptor) === 'device';
    const chunks = layerChunks(blob, { withTree: request.withTree, isDevice });
    const list = ChunkList.of(chunks);
    await list.save(folder).catch((error: unknown) => {
      onWarning(`${(error as Error).message}; other layers take no chunks of this one`);
    });
    return {
      blob,
      chunks,
      store: await ChunkStore.open(folder, chunks.starts),
      sources,
      shared: await SharedChunks.find(folder, list),
      isFromDisk: saved !== null,
    };
  } catch (error) {
    await Promise.allSettled(sources.map((source) => source.close()));
    throw error;
  }
}

/** Null when nothing was kept, or what was kept does not fit the descriptor any more. */
async function openSaved(
  folder: string,
  request: LazyLayerRequest,
  source: ByteSource,
): Promise<SeekableBlob | null> {
  const saved = await SavedReads.load(join(folder, tablesName));
  if (saved === null) return null;
  try {
    const indexLayer = await savedIndex(folder, request);
    return await openSeekable(saved.replaying(source), { ...trust(request), indexLayer });
  } catch (error) {
    if (error instanceof SeekableErofsError) return null;
    throw error;
  }
}

async function savedIndex(folder: string, { index }: LazyLayerRequest): Promise<LoneIndex | undefined> {
  if (index === null) return undefined;
  const path = join(folder, indexName);
  const payload = await readFile(path).catch((error: unknown) => {
    throw fromSystemError(path, error);
  });
  checkDigestOf(path, index.digest, payload);
  return { payload, digest: index.digest };
}

async function openFetched(
  folder: string,
  request: LazyLayerRequest,
  source: ByteSource,
  layerSources: LayerSources,
  onWarning: (line: string) => void,
): Promise<SeekableBlob> {
  const indexLayer = await layerSources.readIndex(request);
  if (!isSeekableLayer(request.descriptor, indexLayer)) {
    throw failure(
      'UNSUPPORTED',
      request.descriptor.digest,
      'it has no chunk table, so it can not be read lazily',
    );
  }
  const reads = SavedReads.empty();
  const view = readAhead(reads.recording(source), windowOf(request.descriptor));
  const blob = await openSeekable(view, { ...trust(request), indexLayer });
  try {
    if (indexLayer !== undefined)
      await writeFile(join(folder, indexName), indexLayer.payload, { mode: 0o600 });
    await reads.save(join(folder, tablesName));
  } catch (error) {
    onWarning(`${(error as Error).message}; the layer's tables are fetched again next time`);
  }
  return blob;
}

/** Bytes from the start of the table to its end, or more: of profile "containerd", whose descriptor says where it begins alone. */
function windowOf({ size, annotations }: Descriptor): number {
  const said = readSeekableAnnotations(annotations);
  if (said?.profile !== 'containerd') return openingWindow;
  const length = (said.verity?.offset ?? size) - said.tableOffset + openingWindow;
  return Math.min(Math.max(length, openingWindow), maxOpeningWindow);
}

/** Holds a descriptor against its blob: its tables and its dm-verity superblock are what it says. Errors as openLayer(). */
export async function checkDescriptor(
  request: LazyLayerRequest,
  layerSources: LayerSources,
  onWarning: (line: string) => void,
): Promise<void> {
  const sources = await layerSources.open(request, onWarning);
  try {
    const indexLayer = await layerSources.readIndex(request);
    await openSeekable(readAhead(sources[0]!, windowOf(request.descriptor)), {
      ...trust(request),
      indexLayer,
    });
  } finally {
    await Promise.allSettled(sources.map((source) => source.close()));
  }
}

function trust({ descriptor, allowUnverified }: LazyLayerRequest) {
  return { descriptor, allowUnverified };
}
