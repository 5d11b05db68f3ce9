import type { EncodeSettings } from '../format/profiles';
import type { ImageLayer } from '../image/image-layers';
import type { JobOptions, WarningOptions } from '../job';
import type { EncodeOptions } from '../layer/encode';
import type { HotFiles } from '../layer/hot-files';
import type { PlannedBuildOptions } from '../layer/layer-image';
import type { DestinationStore, SourceStore } from '../oci/store';
import type { ConvertOptions } from './convert-options';
import type { LayerCache } from './layer-cache';
import type { Order, Orders } from './order';
import { becomesDevice, deviceTag } from './device-tar';
import type { ConversionPool } from './pool';

/**
 * What a conversion has from its start to its end, whichever image or layer is worked on. Signal and progress are not here: work side by
 * side has a signal of its own, so that the first fault ends the rest, and they are passed to each call.
 */
export interface ConversionRun {
  source: SourceStore;
  /** The options as they were given, without what belongs to one call. */
  asked: Omit<ConvertOptions, keyof JobOptions | 'bottomLayer' | 'pool'>;
  /** What the options come to, defaults filled in. */
  settings: EncodeSettings;
  /** What comes first in the images that are built; null: the tree's order alone. */
  orders: Orders | null;
  pool: ConversionPool;
}

/** A conversion into a store that has manifests. */
export interface StoreRun extends ConversionRun {
  destination: DestinationStore;
}

/** The same while layers are converted. */
export interface LayerRun extends StoreRun {
  /** Of their image. */
  order: Order | null;
  /** Of layers converted before. */
  cache: LayerCache | null;
}

/** One layer of an image under way. */
export interface LayerCall {
  layer: ImageLayer;
  /** Those of the run, with the signal and the progress of this layer. */
  options: LayerOptions;
  /** Is told which of the files that come first the layer hides in those below it, before it is encoded. */
  onHides?: ((indices: readonly number[]) => void) | undefined;
}

/** How a layer is encoded, and what the conversion knows of it besides. */
export type LayerOptions = EncodeOptions & PlannedBuildOptions;

/** The call that works on `layer`. What has no name in progress is called by the layer's blob. */
export function layerCall(
  { asked, settings }: ConversionRun,
  layer: ImageLayer,
  { signal, onProgress }: JobOptions,
  files?: HotFiles,
): LayerCall {
  const item = `blob ${layer.descriptor.digest}`;
  const named: JobOptions['onProgress'] =
    onProgress &&
    ((event) => {
      onProgress({ ...event, item: event.item ?? item });
    });
  const hot = files === undefined ? {} : { hot: { files, border: settings.chunkSize } };
  const device = becomesDevice(asked, layer) ? { deviceTag: deviceTag(layer.descriptor) } : {};
  return { layer, options: { ...asked, ...hot, ...device, signal, onProgress: named } };
}

/** Waits for the cleaning up after a run. Its failure is only a warning: the result of the run stands by then, and the caller must get that. */
export async function tidy(work: Promise<void>, { onWarning }: WarningOptions): Promise<void> {
  await work.catch((error: unknown) => {
    onWarning?.(`${(error as Error).message}: something may be left behind`);
  });
}
