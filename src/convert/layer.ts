import { failure, SeekableErofsError } from '../errors';
import { checkDigestOf } from '../format/digest';
import { layerFormat } from '../format/media-types';
import { copyBlob, draftOf, hasLayer } from './copy-blob';
import { finishLayer, type FinishedLayer } from './finish-layer';
import { openLayerFile } from './foreign-layer';
import type { CachedLayer } from './layer-cache';
import type { ConvertedLayer, PlacedDevice } from './placed-layers';
import type { LayerCall, LayerRun } from './run';
import type { MadeBlob } from './tar-device';

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
    const finished = known ?? (await finishLayer(run, call));
    if (known === null && !finished.layer.reused) await addToCache(run, key, finished);
    await commitLayer(run, finished);
    return finished.layer;
  });
}

async function commitLayer(run: LayerRun, { layer, device, ...made }: FinishedLayer): Promise<void> {
  try {
    if (device != null) await commit(run, layer.device!, device);
  } catch (error) {
    await made.draft?.discard();
    throw error;
  }
  await commit(run, layer, made);
}

async function commit(
  { destination }: LayerRun,
  { descriptor, index }: PlacedDevice,
  { draft, indexPayload }: MadeBlob,
): Promise<void> {
  await draft?.commit(descriptor);
  if (indexPayload !== null) await destination.writeBlob(index!.descriptor, indexPayload);
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
  const layer = { ...found.layer, source: descriptor.digest, reused: true };
  try {
    if (await hasLayer(destination, layer)) return { layer, draft: null, indexPayload: null };
    if (layer.device != null && found.device === null) await copyDevice(run, call);
    const made = await draftFromCache(run, call, layer, found);
    if (found.device === null) return { ...made, layer };
    try {
      return { ...made, layer, device: await draftFromCache(run, call, layer.device!, found.device) };
    } catch (error) {
      await made.draft.discard();
      throw error;
    }
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.code !== 'MISMATCH') throw error;
    await cache!.remove(key);
    return null;
  } finally {
    await found.close();
  }
}

async function draftFromCache(
  { destination }: LayerRun,
  { options }: LayerCall,
  { descriptor, index }: PlacedDevice,
  { blob, indexPayload }: Pick<CachedLayer, 'blob' | 'indexPayload'>,
) {
  if (index != null) checkDigestOf(blob.name, index.descriptor.digest, indexPayload!);
  return { draft: await draftOf(destination, blob, descriptor, options), indexPayload };
}

/** When the cache can't be written, the layer is converted all the same, with a warning. */
async function addToCache({ cache, asked }: LayerRun, key: string, finished: FinishedLayer): Promise<void> {
  const { layer, draft, indexPayload, device } = finished;
  if (draft === null) return;
  const ofDevice = device?.draft ? { fd: device.draft.fd, indexPayload: device.indexPayload } : null;
  try {
    await cache?.add(key, { fd: draft.fd, layer, indexPayload, device: ofDevice });
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    asked.onWarning?.(`not kept for later: ${error.message}`);
  }
}
