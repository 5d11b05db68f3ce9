import { isDeepStrictEqual } from 'node:util';
import { isForeignLayer, layerFormat } from '../format/media-types';
import { checkFittingLayers } from '../image/fitting-layers';
import { layersOf, type ImageLayer } from '../image/image-layers';
import type { Image } from '../image/image-set';
import type { JobOptions } from '../job';
import type { Descriptor, Platform } from '../oci/types';
import { keepForeignLayer } from './foreign-layer';
import { hasLayer } from './copy-blob';
import { layerKey } from './layer-key';
import { LayerOrders } from './layer-orders';
import type { ConvertedLayer } from './placed-layers';
import { fittingRun, keepDeviceLayer, runOfLayer } from './composite-image';
import { roleOf } from '../image/composition';
import { withErofsFeature, withoutErofsFeature } from '../oci/erofs-platform';
import { rewriteImage, type RewrittenImage } from './rewrite';
import { layerCall, type ConversionRun, type LayerCall, type LayerRun } from './run';
import { shareLayer } from './shared-layer';
import { runTogether } from './together';

/** An image whose layers, config and manifest are at the destination. */
export interface ConvertedImage extends RewrittenImage {
  /** `os/arch[/variant]`. */
  platform: string;
  layers: ConvertedLayer[];
}

/** Converts an image, its layers side by side; one that occurs twice, in one image or in several, is converted once. */
export async function convertOne(
  imageRun: Omit<LayerRun, 'order'>,
  image: Image,
  { signal: imageSignal, onProgress }: JobOptions,
): Promise<ConvertedImage> {
  const { manifest, config, descriptor, platform } = image;
  const sources = layersOf(image);
  await checkFittingLayers(imageRun.source, image, { ...imageRun.asked, signal: imageSignal });
  const fitting = fittingRun(imageRun, sources, descriptor.digest);
  const run = { ...fitting, order: (await imageRun.orders?.of(image)) ?? null };
  const orders = run.order && new LayerOrders(run.order, sources.length);
  const begun = await runTogether(largestFirst(sources), imageSignal, async (i, signal) => {
    const files = await orders?.filesOf(i);
    const onHides = (indices: readonly number[]): void => orders?.hides(i, files, indices);
    try {
      const own = runOfLayer(run, sources, sources[i]!, descriptor.digest);
      const call = layerCall(own, sources[i]!, { signal, onProgress }, files);
      const made = await convertOnce(own, { ...call, onHides }, sources[0]!);
      onHides(made.hides ?? []);
      return [i, made] as const;
    } finally {
      onHides([]); // nobody is to wait for a layer that failed
    }
  });
  const made = new Map(begun);
  const layers = sources.map((_, i) => made.get(i)!);
  const newPlatform = indexPlatform(run, image, layers);
  const rewritten = rewriteImage(manifest, config, layers, {
    what: descriptor.digest,
    platform: newPlatform,
  });
  const written = await keepUnchanged(run, image, rewritten);
  for (const { descriptor: part, bytes } of [written.config, written.manifest]) {
    if (!(await run.destination.has(part))) await run.destination.writeBlob(part, bytes);
  }
  return { ...written, platform, layers };
}

/** Places of layers in the order in which they begin: while the largest is inflated, which takes one core, the others keep the rest busy. */
function largestFirst(layers: readonly ImageLayer[]): number[] {
  return [...layers.keys()].sort((a, b) => layers[b]!.descriptor.size - layers[a]!.descriptor.size);
}

/** Whether a layer is carried over as it is. */
export function isKept({ asked }: Pick<ConversionRun, 'asked'>, { descriptor }: ImageLayer): boolean {
  const isLeftOut = asked.keepForeign === true && isForeignLayer(descriptor.mediaType);
  return isLeftOut || roleOf(descriptor) === 'device';
}

/** Profile "erofs-image-spec" has no whiteouts where there is nothing to hide. */
export function isBottom({ settings }: ConversionRun, layer: ImageLayer, bottom: ImageLayer): boolean {
  return settings.profile === 'erofs-image-spec' && layer === bottom;
}

/** Converts a layer, unless the run has. */
export async function convertOnce(
  run: LayerRun,
  call: LayerCall,
  bottom: ImageLayer,
): Promise<ConvertedLayer> {
  const { settings, pool, destination } = run;
  const { layer } = call;
  const { size } = layer.descriptor;
  if (roleOf(layer.descriptor) === 'device')
    return pool.open(size, call.options.signal, () => keepDeviceLayer(run, call));
  if (isKept(run, layer)) return pool.open(size, call.options.signal, () => keepForeignLayer(run, call));
  const options = { ...call.options, bottomLayer: isBottom(run, layer, bottom) };
  const key = layerKey({ settings, options }, layer);
  return pool.once(key, destination, {
    isThere: (made) => hasLayer(destination, made),
    make: () => shareLayer(run, { ...call, options }, key),
  });
}

/**
 * What an index says of the new image's platform. The draft specification demands "erofs" in its os.features; without it containerd takes the
 * image out of the index unasked.
 */
function indexPlatform(
  { asked, settings }: ConversionRun,
  { descriptor: { platform } }: Image,
  layers: readonly ConvertedLayer[],
): Platform | undefined {
  if (platform === undefined) return undefined;
  const isOfSpec = ({ descriptor }: ConvertedLayer): boolean => {
    const format = layerFormat(descriptor.mediaType);
    return format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
  };
  const hasFeature =
    asked.osFeatures === true || settings.profile === 'erofs-image-spec' || layers.some(isOfSpec);
  return hasFeature ? withErofsFeature(platform) : withoutErofsFeature(platform);
}

/** An image in which nothing changes stays as it is, to the byte: another program's way to write JSON is no reason for a new digest. */
async function keepUnchanged(
  { source }: ConversionRun,
  { manifest, config, descriptor }: Image,
  rewritten: RewrittenImage,
): Promise<RewrittenImage> {
  const isSame =
    isDeepStrictEqual(rewritten.config.value, config) &&
    isDeepStrictEqual({ ...rewritten.manifest.value, config: null }, { ...manifest, config: null });
  if (!isSame) return rewritten;
  const old = async (of: Descriptor, as: Descriptor) => {
    const { mediaType, digest, size } = of;
    return { bytes: await source.readJson(of), descriptor: { ...as, mediaType, digest, size } };
  };
  return {
    config: { value: config, ...(await old(manifest.config, rewritten.config.descriptor)) },
    manifest: { value: manifest, ...(await old(descriptor, rewritten.manifest.descriptor)) },
  };
}
