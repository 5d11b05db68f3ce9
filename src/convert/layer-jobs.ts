import { layersOf, type ImageLayer } from '../image/image-layers';
import type { ConvertOptions } from './convert-options';
import { convertOnce, isBottom, isKept } from './converted-image';
import { runOfLayer } from './composite-image';
import { layerKey } from './layer-key';
import { layerName } from './layer-record';
import { withOpenRun, type OpenRun } from './open-run';
import { layerCall, tidy } from './run';
import { leaseDestination, withCache } from './write-images';

/** A layer that a conversion has to come by: where it is in its image, and what it is called in the fleet. */
interface PlannedLayer {
  /** Places, from 0, among the images that are converted, and among the layers of that image. */
  image: number;
  layer: number;
  /** As of layer-record.ts. */
  name: string;
  /** Bytes of the source's blob. */
  size: number;
}

/**
 * The layers of the images that a conversion is of, each once. Where a trace orders the files, a layer depends on those above it: then there is
 * nothing to work on apart, and the list is empty.
 */
export function planLayers(
  source: string,
  destination: string,
  options: ConvertOptions,
): Promise<PlannedLayer[]> {
  return withOpenRun(source, destination, options, ({ run, set }) => {
    const planned = new Map<string, PlannedLayer>();
    for (const [image, found] of run.orders === null ? set.images.entries() : []) {
      const layers = layersOf(found);
      for (const [layer, one] of layers.entries()) {
        if (isKept(run, one)) continue;
        const { settings, asked } = runOfLayer(run, layers, one, found.descriptor.digest);
        const bottomLayer = isBottom({ ...run, settings }, one, layers[0]!);
        const name = layerName(layerKey({ settings, options: { ...asked, bottomLayer } }, one));
        planned.set(name, { image, layer, name, size: one.descriptor.size });
      }
    }
    return Promise.resolve([...planned.values()]);
  });
}

/** Brings one of the layers that planLayers() gave to the destination; nothing is named. A source that changed since has perhaps no such layer. */
export function convertPlanned(
  source: string,
  destination: string,
  options: ConvertOptions,
  { image, layer }: Pick<PlannedLayer, 'image' | 'layer'>,
): Promise<void> {
  return withOpenRun(source, destination, options, async (opened) => {
    const found = opened.set.images[image];
    const layers = found === undefined ? [] : layersOf(found);
    const [bottom, one] = [layers[0], layers[layer]];
    if (bottom === undefined || one === undefined) return;
    const run = runOfLayer(opened.run, layers, one, found!.descriptor.digest);
    await writeLayer({ ...opened, run }, { source, destination }, one, bottom);
  });
}

async function writeLayer(
  { run, options, call }: OpenRun,
  { source, destination }: { source: string; destination: string },
  layer: ImageLayer,
  bottom: ImageLayer,
): Promise<void> {
  const to = await leaseDestination(run.pool, destination, { ...options, source, inputs: [] });
  try {
    await withCache(run, call.signal, async (cache) => {
      const layerRun = { ...run, destination: to.target, cache, order: null };
      await convertOnce(layerRun, layerCall(run, layer, call), bottom);
    });
    await to.close();
  } catch (error) {
    await tidy(to.abort(), options);
    throw error;
  }
}
