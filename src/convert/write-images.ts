import { resolve } from 'node:path';
import type { InputFile } from '../fs/same-file';
import type { ImageSet } from '../image/image-set';
import type { EncodeSettings } from '../format/profiles';
import type { WarningOptions } from '../layer/resources';
import { checkReferenceName, parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { openDestination } from '../store/open';
import type { DestinationOptions } from '../store/registry/options';
import { companionsOf, leftOutOf } from './companions';
import { convertOne, type ConvertedImage } from './converted-image';
import { checkNothingLost, readExistingIndex } from './existing-index';
import type { ConvertOptions } from './convert-options';
import type { ConvertResult, Written } from './convert-result';
import type { LayerJob } from './layer';
import type { LayerCache } from './layer-cache';
import type { ConversionPool } from './pool';
import { writeAppended, writeRoot } from './root';
import { tidy } from './tidy';
import { runTogether } from './together';

/** What is to be done, to wherever. */
interface ImagesJob {
  source: SourceStore;
  settings: EncodeSettings;
  options: ConvertOptions;
  pool: ConversionPool;
}

/** Converts images, and gives what they become its name at the destination. */
export async function writeImages(
  job: ImagesJob,
  set: ImageSet,
  { source, destination, inputs }: { source: string; destination: string; inputs: readonly InputFile[] },
): Promise<Written> {
  const { options, pool } = job;
  const replaced =
    options.appendToIndex === true || options.replace === true
      ? null
      : await readExistingIndex(destination, options);
  if (replaced !== null) checkNothingLost(destination, replaced, set, options);
  const to = await leaseDestination(pool, destination, { ...options, source, inputs });
  try {
    const images = await withCache(job, (cache) => {
      const layerJob = {
        ...job,
        destination: to.target,
        cache,
        keepsSource: options.appendToIndex === true,
        keepsForeign: options.keepForeign === true,
        osFeatures: options.osFeatures === true,
      };
      return runTogether(set.images, options.signal, (image, signal) =>
        convertOne({ ...layerJob, options: { ...options, signal } }, image),
      );
    });
    const written = images.map(({ manifest }) => manifest.descriptor);
    if (replaced !== null) checkNothingLost(destination, replaced, set, options, written);
    const root = await writeNamed({ ...job, ...to, destination: to.target }, set, images, destination);
    await to.close();
    const leftOut = leftOutOf(set, companionsOf(set, options));
    return { digest: root.digest, manifests: images.map(describe), leftOut };
  } catch (error) {
    await tidy(to.abort(), options);
    throw error;
  }
}

async function writeNamed(
  { reference, ...job }: ImagesJob & Pick<LayerJob, 'destination'> & { reference: string | undefined },
  set: ImageSet,
  images: ConvertedImage[],
  destination: string,
): Promise<Descriptor> {
  const { options, pool } = job;
  const companions = companionsOf(set, options);
  const write = async (): Promise<Descriptor> => {
    const root =
      options.appendToIndex === true
        ? await writeAppended(job, set, images, companions, await readExistingIndex(destination, options))
        : await writeRoot(job, set, images, companions);
    await job.destination.setReference(reference, root);
    return root;
  };
  return options.appendToIndex === true ? pool.inTurn(write) : write();
}

/** A layout is shared with the other conversions of the run: so they find each other's blobs before those have a reference. */
async function leaseDestination(
  pool: ConversionPool,
  text: string,
  options: DestinationOptions & WarningOptions,
) {
  const parsed = parseReference(text);
  if (parsed.transport !== 'oci') {
    const { store, reference } = await openDestination(text, options);
    // An archive is written by its close(); elsewhere the image is there when it has its name.
    const isArchive = parsed.transport === 'oci-archive';
    const close = () => (isArchive ? store.close() : tidy(store.close(), options));
    return { target: store, reference, close, abort: () => store.abort() };
  }
  const { path, reference } = parsed;
  if (reference !== undefined) checkReferenceName(reference);
  const open = async () => (await openDestination(text, options)).store;
  const lease = await pool.destinations.lease(`oci:${resolve(path)}`, open);
  return { ...lease, reference, close: () => tidy(lease.close(), options) };
}

async function withCache<T>(
  { options, pool }: ImagesJob,
  use: (cache: LayerCache | null) => Promise<T>,
): Promise<T> {
  const { cache: path } = options;
  if (path === undefined) return use(null);
  const { LayerCache } = await import('./layer-cache.js');
  const cache = await pool.destinations.lease(`cache:${resolve(path)}`, () => LayerCache.open(path, options));
  try {
    return await use(cache.target);
  } finally {
    await tidy(cache.close(), options);
  }
}

function describe({ platform, manifest, layers }: ConvertedImage): ConvertResult['manifests'][number] {
  return {
    platform,
    digest: manifest.descriptor.digest,
    layers: layers.map(({ source, descriptor: { digest, size }, diffId, uncompressedSize, reused }) => ({
      source,
      digest,
      size,
      diffId,
      uncompressedSize,
      reused,
    })),
  };
}
