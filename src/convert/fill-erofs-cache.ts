import { ftruncate } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { failure } from '../errors';
import { serializeDmveritySidecar } from '../format/dmverity-sidecar';
import { isErofsLayer, layerFormat } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { writeFully } from '../fs/write-fully';
import { layersOf, readIndexOf, type ImageLayer } from '../image/image-layers';
import type { Image, ImageSet } from '../image/image-set';
import { mkfsSettings } from '../layer/mkfs-options';
import { resourcesOf } from '../layer/resources';
import { isSeekableLayer } from '../layer/seekable';
import { openWholeLayer } from '../layer/whole-layer';
import { verityHead, verityParameters } from '../layer/verity-payload';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile, SourceStore } from '../oci/store';
import { withLayerImage } from './checked-image';
import type { ConvertOptions } from './convert-options';
import type { Written } from './convert-result';
import { ErofsCache } from './erofs-cache';
import { openLayerFile } from './foreign-layer';
import { hasTree, withItem } from './layer';
import type { ConversionPool } from './pool';
import { tidy } from './tidy';
import { runTogether } from './together';

/** What the layers of an image are put into a cache with. */
interface CacheJob {
  source: SourceStore;
  cache: ErofsCache;
  settings: EncodeSettings;
  options: ConvertOptions;
  pool: ConversionPool;
}

/** A layer that has an entry in the cache. */
interface CachedImageLayer {
  /** Digest of the source's layer. */
  source: string;
  /** Of the source's layer as well: the entry's name. */
  diffId: string;
  /** Bytes of the entry. */
  size: number;
  /** Bytes of the EROFS image in it; with dm-verity padded to a block. */
  uncompressedSize: number;
  /** It was there before. */
  reused: boolean;
}

/** An open file that is being written. */
interface Target {
  fd: number;
  name: string;
}

/** Puts the layers of images into containerd's layer content cache at `path`. */
export async function fillCache(job: Omit<CacheJob, 'cache'>, set: ImageSet, path: string): Promise<Written> {
  const { options, pool } = job;
  const key = `erofs-cache:${resolve(path)}`;
  const cache = await pool.destinations.lease(key, () => ErofsCache.open(path, options));
  try {
    const layers = await runTogether(set.images, options.signal, (image, signal) =>
      stageImage({ ...job, cache: cache.target, options: { ...options, signal } }, image),
    );
    await cache.target.publish(layers.flat().map(({ diffId }) => diffId));
    await tidy(cache.close(), options);
    const manifests = set.images.map(({ platform, descriptor: { digest } }, i) => ({
      platform,
      digest,
      layers: layers[i]!.map((layer) => ({ ...layer, digest: null })),
    }));
    return { digest: null, manifests, leftOut: { attestations: 0, artifacts: 0 } };
  } catch (error) {
    await tidy(cache.abort(), options);
    throw error;
  }
}

/**
 * Stages the entries of an image's layers that the cache lacks, each checked against its digest and DiffID; they are there when the cache
 * is told to publish them.
 */
async function stageImage(job: CacheJob, image: Image): Promise<CachedImageLayer[]> {
  const layers = layersOf(image);
  const mkfs = mkfsSettings(job.options);
  const how = JSON.stringify([job.settings.verity, mkfs?.mode, mkfs?.options]);
  const withTree = job.settings.verity !== null;
  return runTogether(layers, job.options.signal, (layer, signal) => {
    const { descriptor, diffId } = layer;
    const options = withItem({ ...job.options, signal }, `blob ${descriptor.digest}`);
    return job.pool.once(`erofs-cache ${diffId} ${how}`, job.cache, {
      isThere: async () => (await job.cache.find(diffId, withTree)) !== null,
      make: () => makeEntry({ ...job, options }, layer),
    });
  });
}

async function makeEntry(job: CacheJob, layer: ImageLayer): Promise<CachedImageLayer> {
  const { digest, mediaType, size } = layer.descriptor;
  const { diffId } = layer;
  if (layerFormat(mediaType) === null) {
    throw failure('UNSUPPORTED', `layer ${digest}`, `its media type ${mediaType} is neither a tar nor EROFS`);
  }
  const known = await job.cache.find(diffId, job.settings.verity !== null);
  const entry = known ?? (await job.pool.open(size, job.options.signal, () => stageEntry(job, layer)));
  const { size: written, imageSize } = entry;
  return { source: digest, diffId, size: written, uncompressedSize: imageSize, reused: known !== null };
}

async function stageEntry(job: CacheJob, layer: ImageLayer) {
  const file = await openLayerFile(job, layer.descriptor);
  try {
    return await job.cache.stage(layer.diffId, async (target) => {
      const imageSize = await writeImage(job, file, layer, target);
      const tree = await appendTree(job, imageSize, target);
      return tree ?? { imageSize, sidecar: null };
    });
  } finally {
    await file.close();
  }
}

/** Writes the raw image of a layer; returns its size. */
async function writeImage(job: CacheJob, file: BlobFile, layer: ImageLayer, target: Target): Promise<number> {
  const indexLayer = await readIndexOf(job.source, layer);
  const { descriptor, diffId } = layer;
  const isSeekable = isErofsLayer(descriptor.mediaType) && isSeekableLayer(descriptor, indexLayer);
  if (!isSeekable && !hasTree(descriptor)) return writeBuiltImage(job, file, layer, target);
  const own = { ...job.options, descriptor: { ...descriptor, diffId }, indexLayer };
  // Without a table, the digests of the whole layer vouch for it.
  const whole = await openWholeLayer(file, { ...own, ...(!isSeekable && { allowUnverified: true }) });
  try {
    const { section, imageSize } = whole.blob;
    await job.pool.compute(section.frames.offsets.length - 1, job.options.signal, (threads) =>
      whole.decode(target, { ...own, threads }),
    );
    await promisify(ftruncate)(target.fd, imageSize);
    return imageSize;
  } finally {
    whole.close();
  }
}

function writeBuiltImage(
  { options, pool }: CacheJob,
  file: BlobFile,
  layer: ImageLayer,
  { fd, name }: Target,
): Promise<number> {
  return withLayerImage(file, layer, options, async (image, check) => {
    // One thread hashes what is written, so more than two have nothing to do.
    await pool.compute(2, options.signal, (threads) =>
      runNative(options, (job) => native.writeSource(image, { fd, name, offset: 0 }, { threads }, job)),
    );
    await check();
    return image.size;
  });
}

/** Pads an image to a block and puts superblock and tree behind it, where that is asked for. */
async function appendTree({ settings, options, pool }: CacheJob, size: number, { fd, name }: Target) {
  const { verity } = settings;
  if (verity === null) return null;
  if (size === 0) throw failure('USAGE', 'dm-verity', 'an image of 0 bytes has no tree');
  const { tmpDir } = resourcesOf(options);
  const image = new native.Source({ fd, offset: 0, size, name });
  const pieces = Math.ceil(size / (1 << 20));
  const tree = await pool
    .compute(pieces, options.signal, (threads) =>
      runNative(options, (job) =>
        native.verityTree(image, verityParameters(verity), { threads, tmpDir }, job),
      ),
    )
    .finally(() => {
      image.close();
    });
  try {
    const { rootDigest, head } = verityHead(verity, tree);
    const hashOffset = tree.dataBlocks * verity.blockSize;
    await writeFully(fd, head, hashOffset);
    const target = { fd, name, offset: hashOffset + head.length };
    await runNative(options, (job) => native.writeSource(tree.tree, target, { threads: 1 }, job));
    return { imageSize: hashOffset, sidecar: serializeDmveritySidecar({ rootDigest, hashOffset }) };
  } finally {
    tree.tree.close();
  }
}
