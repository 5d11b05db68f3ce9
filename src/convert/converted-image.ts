import { isDeepStrictEqual } from 'node:util';
import { isForeignLayer, layerFormat } from '../format/media-types';
import { layersOf } from '../image/image-layers';
import type { Image } from '../image/image-set';
import type { Descriptor, Platform } from '../oci/types';
import { keepForeignLayer } from './foreign-layer';
import { convertLayer, hasLayer, type LayerJob } from './layer';
import { layerKey } from './layer-key';
import type { ConvertedLayer } from './placed-layers';
import { rewriteImage, withErofsFeature, withoutErofsFeature, type RewrittenImage } from './rewrite';
import { runTogether } from './together';

/** An image whose layers, config and manifest are at the destination. */
export interface ConvertedImage extends RewrittenImage {
  /** `os/arch[/variant]`. */
  platform: string;
  layers: ConvertedLayer[];
}

/** Converts an image, its layers side by side; one that occurs twice, in one image or in several, is converted once. */
export async function convertOne(job: LayerJob, image: Image): Promise<ConvertedImage> {
  const sources = layersOf(image);
  const layers = await runTogether(sources, job.options.signal, (layer, signal) => {
    // Profile "erofs-image-spec" has no whiteouts where there is nothing to hide.
    const bottomLayer = job.settings.profile === 'erofs-image-spec' && layer === sources[0];
    const ownJob = { ...job, options: { ...job.options, bottomLayer, signal } };
    const { mediaType, size } = layer.descriptor;
    if (job.keepsForeign && isForeignLayer(mediaType)) {
      return job.pool.open(size, signal, () => keepForeignLayer(ownJob, layer));
    }
    return job.pool.once(layerKey(ownJob, layer), job.destination, {
      isThere: (made) => hasLayer(job.destination, made),
      make: () => convertLayer(ownJob, layer),
    });
  });
  const { manifest, config, descriptor, platform } = image;
  const options = { what: descriptor.digest, platform: indexPlatform(job, image, layers) };
  const rewritten = rewriteImage(manifest, config, layers, options);
  const written = await keepUnchanged(job, image, rewritten);
  for (const { descriptor: part, bytes } of [written.config, written.manifest]) {
    if (!(await job.destination.has(part))) await job.destination.writeBlob(part, bytes);
  }
  return { ...written, platform, layers };
}

/**
 * What an index says of the new image's platform. The draft specification demands "erofs" in its os.features; without it containerd takes the
 * image out of the index unasked.
 */
function indexPlatform(
  { osFeatures, settings }: LayerJob,
  { descriptor: { platform } }: Image,
  layers: readonly ConvertedLayer[],
): Platform | undefined {
  if (platform === undefined) return undefined;
  const isOfSpec = ({ descriptor }: ConvertedLayer): boolean => {
    const format = layerFormat(descriptor.mediaType);
    return format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
  };
  const hasFeature = osFeatures || settings.profile === 'erofs-image-spec' || layers.some(isOfSpec);
  return hasFeature ? withErofsFeature(platform) : withoutErofsFeature(platform);
}

/** An image in which nothing changes stays as it is, to the byte: another program's way to write JSON is no reason for a new digest. */
async function keepUnchanged(
  { source }: LayerJob,
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
