import { resolve } from 'node:path';
import type { InputFile } from '../fs/same-file';
import type { ImageSet } from '../image/image-set';
import type { JobOptions, WarningOptions } from '../job';
import { checkReferenceName, parseReference } from '../oci/reference';
import type { Descriptor } from '../oci/types';
import { openDestination } from '../store/open';
import type { DestinationOptions, StoreOptions } from '../store/registry/options';
import { checkConversion } from './check-conversion';
import { companionsOf, leftOutOf } from './companions';
import { convertOne, type ConvertedImage } from './converted-image';
import { checkNothingLost, readExistingIndex } from './existing-index';
import type { ConvertResult, ResultLayer, Written } from './convert-result';
import type { LayerCache } from './layer-cache';
import type { ConvertedLayer, PlacedPart } from './placed-layers';
import type { ConversionPool } from './pool';
import { writeAppended, writeRoot } from './root';
import { tidy, type ConversionRun, type StoreRun } from './run';
import { runTogether } from './together';

/** Converts the images of a set, writes the manifest or index that leads to them, and names it at the destination. */
export async function writeImages(
  run: ConversionRun,
  set: ImageSet,
  { source, destination, inputs }: { source: string; destination: string; inputs: readonly InputFile[] },
  { signal, onProgress }: JobOptions,
): Promise<Written> {
  const { asked, pool } = run;
  const options = { ...asked, signal, onProgress };
  const replaced =
    asked.appendToIndex === true || asked.replace === true
      ? null
      : await readExistingIndex(destination, options);
  if (replaced !== null) checkNothingLost(destination, replaced, set, asked);
  const to = await leaseDestination(pool, destination, { ...options, source, inputs });
  const storeRun = { ...run, destination: to.target };
  try {
    const images = await withCache(run, signal, async (cache) => {
      const layerRun = { ...storeRun, cache };
      return runTogether(set.images, signal, (image, imageSignal) =>
        convertOne(layerRun, image, { signal: imageSignal, onProgress }),
      );
    });
    const written = images.map(({ manifest }) => manifest.descriptor);
    if (replaced !== null) checkNothingLost(destination, replaced, set, asked, written);
    if (asked.check === true) await checkConversion(storeRun, set, images, options);
    const root = await writeNamed(storeRun, set, images, { destination, reference: to.reference }, options);
    await to.close();
    const leftOut = leftOutOf(set, companionsOf(set, asked));
    return { digest: root.digest, manifests: images.map(describe), leftOut };
  } catch (error) {
    await tidy(to.abort(), asked);
    throw error;
  }
}

async function writeNamed(
  run: StoreRun,
  set: ImageSet,
  images: ConvertedImage[],
  { destination, reference }: { destination: string; reference: string | undefined },
  options: StoreOptions & WarningOptions,
): Promise<Descriptor> {
  const isAppended = run.asked.appendToIndex === true;
  const companions = companionsOf(set, run.asked);
  const write = async (): Promise<Descriptor> => {
    const root = isAppended
      ? await writeAppended(
          run,
          set,
          images,
          companions,
          await readExistingIndex(destination, options),
          options,
        )
      : await writeRoot(run, set, images, companions, options);
    await run.asked.fleet?.naming(root.digest);
    await run.destination.setReference(reference, root);
    return root;
  };
  return isAppended ? run.pool.inTurn(write) : write();
}

/** A layout is shared with the other conversions of the run: so they find each other's blobs before those have a reference. */
export async function leaseDestination(
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

export async function withCache<T>(
  { asked, pool }: ConversionRun,
  signal: AbortSignal | undefined,
  use: (cache: LayerCache | null) => Promise<T>,
): Promise<T> {
  const { cache: path } = asked;
  if (path === undefined) return use(null);
  const { LayerCache } = await import('./layer-cache.js');
  const cache = await pool.destinations.lease(`cache:${resolve(path)}`, () =>
    LayerCache.open(path, { signal }),
  );
  try {
    return await use(cache.target);
  } finally {
    await tidy(cache.close(), asked);
  }
}

function describe({ platform, manifest, layers }: ConvertedImage): ConvertResult['manifests'][number] {
  return { platform, digest: manifest.descriptor.digest, layers: layers.map(describeLayer) };
}

function describeLayer({ source, device, uncompressedSize, reused, ...layer }: ConvertedLayer): ResultLayer {
  const stored = ({ descriptor: { digest, size }, diffId }: PlacedPart) => ({ digest, size, diffId });
  return {
    source,
    ...stored(layer),
    uncompressedSize,
    reused,
    ...(device != null && { device: stored(device) }),
  };
}
