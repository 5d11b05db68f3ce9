import { SeekableErofsError } from '../errors';
import type { DestinationStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { openSource } from '../store/open';
import { copyBlobFrom, hasLayer } from './copy-blob';
import type { SharedLayer } from './fleet';
import { convertLayer } from './layer';
import { layerName, type LayerRecord } from './layer-record';
import { partsOf, type ConvertedLayer } from './placed-layers';
import type { LayerCall, LayerRun } from './run';

/** As convertLayer(), but converted once in the whole fleet, where there is one and others can get at the blobs. */
export async function shareLayer(run: LayerRun, call: LayerCall, key: string): Promise<ConvertedLayer> {
  const { fleet } = run.asked;
  const place = placeOf(run.destination);
  if (fleet === undefined || (place === null && run.cache === null)) return convertLayer(run, call, key);
  return fleet.layer(layerName(key), {
    signal: call.options.signal,
    take: (shared) => takeLayer(run, call, key, shared),
    make: async () => {
      const made = await convertLayer(run, call, key);
      return { made, shared: { record: made, place } };
    },
  });
}

/** Where others find the blobs as soon as they are written: a layout and an archive have none before an image is named. */
function placeOf({ name }: DestinationStore): string | null {
  return name.startsWith('docker://') ? name : null;
}

async function takeLayer(
  run: LayerRun,
  call: LayerCall,
  key: string,
  { record, place }: SharedLayer,
): Promise<ConvertedLayer | null> {
  const layer = { ...record, source: call.layer.descriptor.digest, reused: true };
  if (await hasLayer(run.destination, record)) return layer;
  const parts = partsOf(record).map(({ descriptor }) => descriptor);
  if (place !== null && (await takeAll(run.destination, parts, place))) return layer;
  const cached = await run.cache?.find(key);
  if (cached != null) {
    await cached.close();
    return convertLayer(run, call, key); // it takes it from there
  }
  return place === null ? null : copyFrom(run, call, place, layer, parts);
}

/** Whether the registry took the blobs over from another of its repositories. */
async function takeAll(destination: DestinationStore, parts: Descriptor[], place: string): Promise<boolean> {
  for (const part of parts) {
    if ((await destination.takeOver?.(part, place)) !== true) return false;
  }
  return true;
}

/** Of another registry, say. */
async function copyFrom(
  { pool, asked, destination }: LayerRun,
  { options }: LayerCall,
  place: string,
  layer: ConvertedLayer & LayerRecord,
  parts: Descriptor[],
): Promise<ConvertedLayer | null> {
  const { store } = await openSource(place, { ...asked, signal: options.signal });
  try {
    return await pool.open(layer.descriptor.size, options.signal, async () => {
      for (const part of parts) await copyBlobFrom(store, destination, part, options);
      return layer;
    });
  } catch (error) {
    const isGone =
      error instanceof SeekableErofsError && (error.code === 'NOT_FOUND' || error.code === 'MISMATCH');
    if (!isGone) throw error;
    return null;
  } finally {
    await store.close();
  }
}
