import { failure, SeekableErofsError } from '../errors';
import { readSeekableAnnotations, stripSeekableAnnotations } from '../format/annotations';
import { checkDigestOf } from '../format/digest';
import { isErofsLayer, layerFormat } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { openTemporary, type TemporaryFile } from '../fs/temporary';
import { readIndexOf, type ImageLayer } from '../image/image-layers';
import type { LoneIndex } from '../layer/chunk-index-section';
import { encodeErofs, settingsOf, type EncodeOptions } from '../layer/encode';
import type { EncodedLayer } from '../layer/encoded-layer';
import { warnOfUnusedMkfs } from '../layer/mkfs-options';
import { isCutInto, isSeekableLayer, openSeekable, type SeekableBlob } from '../layer/seekable';
import { openWholeLayer, unlessUnreadable } from '../layer/whole-layer';
import { native, type NativeSource } from '../native/binding';
import { omit } from '../oci/json';
import type { BlobDraft, BlobFile, DestinationStore, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { withLayerImage } from './checked-image';
import { copyBlob, draftOf } from './copy-blob';
import type { LayerCache, NewCacheEntry } from './layer-cache';
import { layerKey } from './layer-key';
import { openLayerFile } from './foreign-layer';
import type { ConversionPool } from './pool';
import type { ConvertedLayer, NewLayer } from './placed-layers';

/** What the conversion of every layer needs. */
export interface LayerJob {
  source: SourceStore;
  destination: DestinationStore;
  settings: EncodeSettings;
  options: EncodeOptions;
  pool: ConversionPool;
  /** Of layers converted before. */
  cache: LayerCache | null;
  /** Copy the source's layers as well, while they are open. */
  keepsSource: boolean;
  /** Carry layers that registries don't keep over as they are. */
  keepsForeign: boolean;
  /** Say "erofs" in the os.features of an index's entries in profile "containerd" as well. */
  osFeatures: boolean;
}

/** A layer that is ready but for its blob's commit; no draft when the destination has the blob. */
interface FinishedLayer {
  layer: ConvertedLayer;
  draft: BlobDraft | null;
  /** Of `layer.index`. */
  indexPayload: Uint8Array | null;
}

/**
 * One layer of an image, converted into the destination. A seekable blob that is as it was asked for stays as it is; everything else is
 * built, decoded or decompressed, and wrapped. The source's bytes are checked against descriptor and DiffID on the way: nothing is
 * committed before. What the destination has already is not read at all.
 */
export async function convertLayer(job: LayerJob, source: ImageLayer): Promise<ConvertedLayer> {
  const { mediaType, digest, size } = source.descriptor;
  if (layerFormat(mediaType) === null) {
    throw failure('UNSUPPORTED', `layer ${digest}`, `its media type ${mediaType} is neither a tar nor EROFS`);
  }
  const named = { ...job, options: withItem(job.options, `blob ${digest}`) };
  return job.pool.open(size, job.options.signal, async () => {
    const key = layerKey(job, source);
    const known = await findInCache(named, key, digest);
    const { layer, draft, indexPayload } = known ?? (await finishLayer(named, source));
    if (known === null && draft !== null && !layer.reused) {
      await addToCache(named, key, { fd: draft.fd, layer, indexPayload });
    }
    await draft?.commit(layer.descriptor);
    if (indexPayload !== null) await job.destination.writeBlob(layer.index!.descriptor, indexPayload);
    return layer;
  });
}

/** The layer from the cache, its blob copied and checked unless the destination has it; null when there is none that is right. */
async function findInCache(job: LayerJob, key: string, source: string): Promise<FinishedLayer | null> {
  const found = (await job.cache?.find(key)) ?? null;
  if (found === null) return null;
  const { blob, indexPayload } = found;
  const layer = { ...found.layer, source, reused: true };
  try {
    if (await hasLayer(job.destination, layer)) return { layer, draft: null, indexPayload: null };
    if (layer.index != null) checkDigestOf(blob.name, layer.index.descriptor.digest, indexPayload!);
    return { layer, draft: await draftOf(job, blob, layer.descriptor), indexPayload };
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.code !== 'MISMATCH') throw error;
    await job.cache!.remove(key);
    return null;
  } finally {
    await blob.close();
  }
}

/** A cache that can't be written is no reason to fail. */
async function addToCache({ cache, options }: LayerJob, key: string, entry: NewCacheEntry): Promise<void> {
  try {
    await cache?.add(key, entry);
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    options.onWarning?.(`not kept for later: ${error.message}`);
  }
}

/** Whether a destination has a layer, and its chunk index where that is a layer of its own. */
export async function hasLayer(
  destination: DestinationStore,
  { descriptor, index }: NewLayer,
): Promise<boolean> {
  return (await destination.has(descriptor)) && (index == null || (await destination.has(index.descriptor)));
}

/** The same options, but what has no name in progress is called `item`. */
export function withItem(options: EncodeOptions, item: string): EncodeOptions {
  const { onProgress } = options;
  if (onProgress === undefined) return options;
  return {
    ...options,
    onProgress: (event) => {
      onProgress({ ...event, item: event.item ?? item });
    },
  };
}

/** Files of the source are closed when this returns: a blob may take long to be uploaded. */
async function finishLayer(job: LayerJob, source: ImageLayer): Promise<FinishedLayer> {
  const { descriptor, diffId } = source;
  const index = await readIndexOf(job.source, source);
  const isSeekable = isErofsLayer(descriptor.mediaType) && isSeekableLayer(descriptor, index);
  if (isSeekable) {
    const known = await findAtDestination(job, source, index);
    if (known !== null) return { layer: known, draft: null, indexPayload: null };
  }
  const file = await openLayerFile(job, descriptor);
  try {
    if (job.keepsSource) await copyBlob(job, file, descriptor);
    return isSeekable || hasTree(descriptor)
      ? await convertWhole(job, file, source, index)
      : await convertOther(job, file, descriptor, diffId);
  } finally {
    await file.close();
  }
}

/** A seekable layer that is as it was asked for and at the destination already: only its table is read. */
async function findAtDestination(
  job: LayerJob,
  source: ImageLayer,
  indexLayer: LoneIndex | undefined,
): Promise<ConvertedLayer | null> {
  const { descriptor, index } = source;
  if (!(await job.destination.has(descriptor))) return null;
  if (index !== null && !(await job.destination.has(index.descriptor))) return null;
  const file = await job.source.openBlob(descriptor);
  try {
    const blob = await unlessUnreadable(openSeekable(file, { ...job.options, descriptor, indexLayer }));
    return blob !== null && isAsAsked(blob, job, indexLayer) ? passedThrough(blob, source) : null;
  } finally {
    await file.close();
  }
}

function passedThrough(blob: SeekableBlob, source: ImageLayer): ConvertedLayer {
  return { ...source, source: source.descriptor.digest, uncompressedSize: blob.imageSize, reused: true };
}

/** Of a layer without a table, only the descriptor tells where its image ends and a tree begins. */
export function hasTree({ mediaType, annotations }: Descriptor): boolean {
  return isErofsLayer(mediaType) && readSeekableAnnotations(annotations)?.verity != null;
}

async function convertWhole(
  job: LayerJob,
  file: BlobFile,
  layer: ImageLayer,
  indexLayer: LoneIndex | undefined,
): Promise<FinishedLayer> {
  const { descriptor, diffId } = layer;
  warnOfUnusedMkfs(file.name, job.options);
  const own = { ...job.options, descriptor: { ...descriptor, diffId }, indexLayer };
  // Without a table, the digests of the whole layer vouch for it.
  const isTrusted = !isSeekableLayer(descriptor, indexLayer);
  const whole = await openWholeLayer(file, { ...own, ...(isTrusted && { allowUnverified: true }) });
  try {
    const { kind, blob } = whole;
    const decode = (target: TemporaryFile | null) =>
      job.pool.compute(blob.section.frames.offsets.length - 1, job.options.signal, (threads) =>
        whole.decode(target, { ...own, threads }),
      );
    if (kind === 'seekable' && isAsAsked(blob, job, indexLayer)) {
      await decode(null); // a layer that is passed on was checked as well
      const draft = (await job.destination.has(descriptor)) ? null : await draftOf(job, file, descriptor);
      return { layer: passedThrough(blob, layer), draft, indexPayload: indexLayer?.payload ?? null };
    }
    return await wrapDecoded(job, layer, blob, decode);
  } finally {
    whole.close();
  }
}

/** Decodes a layer into a file without a name, and wraps what it holds. */
async function wrapDecoded(
  job: LayerJob,
  { descriptor }: ImageLayer,
  blob: SeekableBlob,
  decode: (target: TemporaryFile) => Promise<unknown>,
): Promise<FinishedLayer> {
  const file = await openTemporary(job.options.tmpDir);
  try {
    await decode(file);
    const name = `blob ${descriptor.digest}`;
    const image = new native.Source({ fd: file.fd, offset: 0, size: blob.imageSize, name });
    return await wrap(withTreeAsBefore(job, blob), image, descriptor, async () => undefined);
  } finally {
    await file.close();
  }
}

/** Options that were not given match anything. */
function isAsAsked(
  blob: SeekableBlob,
  { settings, options: asked }: LayerJob,
  indexLayer: LoneIndex | undefined,
): boolean {
  const { profile, section, tree, lacksSuperblock } = blob;
  if (lacksSuperblock) return false; // nobody could use its tree
  const vouched = tree?.vouched === true ? tree.superblock : null;
  const wanted = settings.verity;
  return (
    (asked.profile === undefined || settings.profile === profile) &&
    (asked.chunkSize === undefined || isCutInto(blob, settings.chunkSize)) &&
    (asked.index === undefined || (settings.index === 'standalone') === (indexLayer !== undefined)) &&
    (asked.noCompress === undefined || settings.compression === section.frames.compression) &&
    (asked.dmVerity === undefined || asked.dmVerity === (vouched !== null)) &&
    (wanted === null ||
      asked.dmVerityBlockSize === undefined ||
      wanted.blockSize === vouched?.dataBlockSize) &&
    (wanted === null || asked.dmVerityHash === undefined || wanted.algorithm === vouched?.algorithm)
  );
}

/** A layer that had a tree keeps one when nothing was said of that. */
function withTreeAsBefore(job: LayerJob, { tree, lacksSuperblock }: SeekableBlob): LayerJob {
  const hadTree = tree?.vouched ?? lacksSuperblock;
  if (job.options.dmVerity !== undefined || !hadTree) return job;
  return { ...job, settings: settingsOf({ ...job.options, dmVerity: true }) };
}

/** A tar is built, an EROFS image taken as it is, both decompressed if need be; then wrapped. */
async function convertOther(
  job: LayerJob,
  file: BlobFile,
  descriptor: Descriptor,
  diffId: string,
): Promise<FinishedLayer> {
  return withLayerImage(file, { descriptor, diffId }, job.options, (image, check) =>
    wrap(job, image, descriptor, check),
  );
}

/** Encodes an image into a draft of the destination, which is returned once `check` has passed. Closes the image. */
async function wrap(
  { destination, settings, options, pool }: LayerJob,
  image: NativeSource,
  old: Descriptor,
  check: () => Promise<void>,
): Promise<FinishedLayer> {
  try {
    const chunks = Math.ceil(image.size / settings.chunkSize);
    const draft = await destination.createBlob();
    try {
      const encoded = await pool.compute(chunks, options.signal, (threads) =>
        encodeErofs(image, draft, settings, { ...options, threads }, `blob ${old.digest}`),
      );
      await check();
      const descriptor = descriptorOf(encoded, old);
      const { diffId, uncompressedSize, indexLayer } = encoded;
      // Of an index, which is stored as it is, DiffID and digest are the same.
      const index = indexLayer && { descriptor: indexLayer.descriptor, diffId: indexLayer.descriptor.digest };
      const layer = { source: old.digest, descriptor, diffId, index, uncompressedSize, reused: false };
      return { layer, draft, indexPayload: indexLayer?.payload ?? null };
    } catch (error) {
      await draft.discard();
      throw error;
    }
  } finally {
    image.close();
  }
}

/** Annotations of the old descriptor that say nothing of its encoding stay, and members that nobody here knows. */
function descriptorOf({ mediaType, digest, size, annotations }: EncodedLayer, old: Descriptor): Descriptor {
  return {
    mediaType,
    digest,
    size,
    annotations: { ...stripSeekableAnnotations(old.annotations ?? {}), ...annotations },
    ...omit(old, 'mediaType', 'digest', 'size', 'annotations', 'data', 'urls'),
  };
}
