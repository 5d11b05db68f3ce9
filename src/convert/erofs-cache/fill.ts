import { ftruncate } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { failure } from '../../errors';
import { containerdTree, serializeDmveritySidecar } from '../../format/dmverity-sidecar';
import { layerFormat } from '../../format/media-types';
import { refuseComposite } from '../composite-image';
import { layersOf, readIndexOf } from '../../image/image-layers';
import type { Image, ImageSet } from '../../image/image-set';
import type { JobOptions } from '../../job';
import { appendTree } from '../../layer/append-tree';
import { mkfsSettings } from '../../layer/mkfs/options';
import { resourcesOf } from '../../layer/resources';
import { native } from '../../native/binding';
import { runNative } from '../../native/run';
import type { BlobFile } from '../../oci/store';
import { openStoredImage, withLayerImage } from '../checked-image';
import type { Written } from '../convert-result';
import { ErofsCache } from './cache';
import { openLayerFile } from '../foreign-layer';
import { layerCall, tidy, type ConversionRun, type LayerCall } from '../run';
import { runTogether } from '../together';

/** A conversion into a cache. */
interface CacheRun extends ConversionRun {
  cache: ErofsCache;
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
export async function fillCache(
  run: ConversionRun,
  set: ImageSet,
  path: string,
  { signal, onProgress }: JobOptions,
): Promise<Written> {
  const { asked, pool } = run;
  const key = `erofs-cache:${resolve(path)}`;
  const cache = await pool.destinations.lease(key, () => ErofsCache.open(path, { signal }));
  try {
    const layers = await runTogether(set.images, signal, (image, imageSignal) =>
      stageImage({ ...run, cache: cache.target }, image, { signal: imageSignal, onProgress }),
    );
    await cache.target.publish(layers.flat().map(({ diffId }) => diffId));
    await tidy(cache.close(), asked);
    const manifests = set.images.map(({ platform, descriptor: { digest } }, i) => ({
      platform,
      digest,
      layers: layers[i]!.map((layer) => ({ ...layer, digest: null })),
    }));
    return { digest: null, manifests, leftOut: { attestations: 0, artifacts: 0 } };
  } catch (error) {
    await tidy(cache.abort(), asked);
    throw error;
  }
}

/**
 * Stages the entries of an image's layers that the cache lacks, each checked against its digest and DiffID; they are there when the cache
 * is told to publish them.
 */
async function stageImage(
  run: CacheRun,
  image: Image,
  { signal: imageSignal, onProgress }: JobOptions,
): Promise<CachedImageLayer[]> {
  const { asked, settings, pool, cache } = run;
  const mkfs = mkfsSettings(asked);
  const isVerified = settings.verity !== null;
  const how = JSON.stringify([isVerified, mkfs?.mode, mkfs?.options]);
  const layers = layersOf(image);
  refuseComposite(layers, 'an erofs-cache', image.descriptor.digest);
  return runTogether(layers, imageSignal, (layer, signal) =>
    pool.once(`erofs-cache ${layer.diffId} ${how}`, cache, {
      isThere: async () => (await cache.find(layer.diffId, isVerified)) !== null,
      make: () => makeEntry(run, layerCall(run, layer, { signal, onProgress })),
    }),
  );
}

async function makeEntry(run: CacheRun, call: LayerCall): Promise<CachedImageLayer> {
  const { diffId, descriptor } = call.layer;
  const { digest, mediaType, size } = descriptor;
  if (layerFormat(mediaType) === null) {
    throw failure('UNSUPPORTED', `layer ${digest}`, `its media type ${mediaType} is neither a tar nor EROFS`);
  }
  const known = await run.cache.find(diffId, run.settings.verity !== null);
  const entry = known ?? (await run.pool.open(size, call.options.signal, () => stageEntry(run, call)));
  const { size: written, imageSize } = entry;
  return { source: digest, diffId, size: written, uncompressedSize: imageSize, reused: known !== null };
}

async function stageEntry(run: CacheRun, call: LayerCall) {
  const { descriptor, diffId } = call.layer;
  const file = await openLayerFile(run.source, descriptor, call.options);
  try {
    return await run.cache.stage(diffId, async (target) => {
      const imageSize = await writeImage(run, call, file, target);
      const tree = await withTree(run, call, imageSize, target);
      return tree ?? { imageSize, sidecar: null };
    });
  } finally {
    await file.close();
  }
}

/** Writes the raw image of a layer; returns its size. */
async function writeImage(run: CacheRun, call: LayerCall, file: BlobFile, target: Target): Promise<number> {
  const indexLayer = await readIndexOf(run.source, call.layer);
  const stored = await openStoredImage(run.pool, file, call, indexLayer);
  if (stored === null) return writeBuiltImage(run, call, file, target);
  try {
    await stored.decode(target);
    await promisify(ftruncate)(target.fd, stored.blob.imageSize);
    return stored.blob.imageSize;
  } finally {
    stored.close();
  }
}

function writeBuiltImage(
  { pool }: CacheRun,
  call: LayerCall,
  file: BlobFile,
  { fd, name }: Target,
): Promise<number> {
  const { options } = call;
  return withLayerImage(file, call, async ({ image }, check) => {
    // One thread hashes what is written, so more than two have nothing to do.
    await pool.compute(2, options.signal, (threads) =>
      runNative(options, (job) => native.writeSource(image, { fd, name, offset: 0 }, { threads }, job)),
    );
    await check();
    return image.size;
  });
}

/** With dm-verity: in the one form that containerd takes. */
async function withTree({ settings, pool }: CacheRun, { options }: LayerCall, size: number, target: Target) {
  if (settings.verity === null) return null;
  const { tmpDir } = resourcesOf(options);
  const { rootDigest, hashOffset } = await appendTree({ ...target, size }, containerdTree, {
    ...options,
    tmpDir,
    compute: (pieces, work) => pool.compute(pieces, options.signal, work),
  });
  return { imageSize: hashOffset, sidecar: serializeDmveritySidecar({ rootDigest, hashOffset }) };
}
