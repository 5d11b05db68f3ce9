import { failure, SeekableErofsError } from '../errors';
import { checkDigestOf } from '../format/digest';
import { layerFormat } from '../format/media-types';
import { copyBlob, draftOf, hasLayer } from './copy-blob';
import { finishLayer, type FinishedLayer } from './finish-layer';
import { openLayerFile } from './foreign-layer';
import type { NewCacheEntry } from './layer-cache';
import type { ConvertedLayer } from './placed-layers';
import type { LayerCall, LayerRun } from './run';

/**
 * One layer of an image, converted into the destination, or taken from the cache, where it is called `key`. Nothing is committed before the
 * source's bytes are known to be those of descriptor and DiffID. What the destination has already is not read at all.
 */
export async function convertLayer(run: LayerRun, call: LayerCall, key: string): Promise<ConvertedLayer> {
  const { mediaType, digest, size } = call.layer.descriptor;
  if (layerFormat(mediaType) === null) {
    throw failure('UNSUPPORTED', `layer ${digest}`, `its media type ${mediaType} is neither a tar nor EROFS`);
  }
  return run.pool.open(size, call.options.signal, async () => {
    const known = await findInCache(run, call, key);
    const { layer, draft, indexPayload } = known ?? (await finishLayer(run, call));
    if (known === null && draft !== null && !layer.reused) {
      await addToCache(run, key, { fd: draft.fd, layer, indexPayload });
    }
    await draft?.commit(layer.descriptor);
    if (indexPayload !== null) await run.destination.writeBlob(layer.index!.descriptor, indexPayload);
    return layer;
  });
}

/** The tar as it is, for a layer of the cache. */
async function copyDevice({ source, destination }: LayerRun, { layer, options }: LayerCall): Promise<void> {
  const { descriptor } = layer;
  if (await destination.has(descriptor)) return;
  const file = await openLayerFile(source, descriptor, options);
  try {
    await copyBlob(destination, file, descriptor, options);
  } finally {
    await file.close();
  }
}

/** The layer from the cache, its blob copied and checked unless the destination has it; null when there is none that is right. */
async function findInCache(run: LayerRun, call: LayerCall, key: string): Promise<FinishedLayer | null> {
  const { cache, destination } = run;
  const { descriptor } = call.layer;
  const found = (await cache?.find(key)) ?? null;
  if (found === null) return null;
  const { blob, indexPayload } = found;
  const layer = { ...found.layer, source: descriptor.digest, reused: true };
  try {
    if (await hasLayer(destination, layer)) return { layer, draft: null, indexPayload: null };
    if (layer.index != null) checkDigestOf(blob.name, layer.index.descriptor.digest, indexPayload!);
    if (layer.device != null) await copyDevice(run, call);
    return { layer, draft: await draftOf(destination, blob, layer.descriptor, call.options), indexPayload };
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.code !== 'MISMATCH') throw error;
    await cache!.remove(key);
    return null;
  } finally {
    await blob.close();
  }
}

/** When the cache can't be written, the layer is converted all the same, with a warning. */
async function addToCache({ cache, asked }: LayerRun, key: string, entry: NewCacheEntry): Promise<void> {
  try {
    await cache?.add(key, entry);
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    asked.onWarning?.(`not kept for later: ${error.message}`);
  }
}
