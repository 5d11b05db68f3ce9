import { openImages, type Image, type ImageSet, type PlatformSelection } from '../image/images';
import { settingsOf, type EncodeOptions } from '../layer/encode';
import { openDestination, openSource } from '../store/open';
import type { Descriptor } from '../oci/types';
import { copyManifest } from './copy-manifest';
import { convertLayer, type ConvertedLayer, type LayerJob } from './layer';
import { rewriteImage, rewriteIndex, type RewrittenImage } from './rewrite';

/** How an image is converted. */
export interface ConvertOptions extends EncodeOptions, PlatformSelection {}

/** What became of an image. */
export interface ConvertResult {
  source: string;
  destination: string;
  /** Of the manifest or index that was written. */
  digest: string;
  manifests: {
    /** `os/arch[/variant]`. */
    platform: string;
    digest: string;
    layers: {
      /** Digest of the source's layer. */
      source: string;
      digest: string;
      size: number;
      diffId: string;
      uncompressedSize: number | null;
      /** Passed through as it was, or converted before. */
      reused: boolean;
    }[];
  }[];
  /** The run in numbers; a layer that occurs twice counts once. */
  summary: { layers: number; bytesIn: number; bytesOut: number; seconds: number };
}

/**
 * Converts an image: every layer becomes a seekable EROFS blob, manifest, config and index are rewritten to match. From an index it
 * takes this machine's platform, unless others are named or all asked for. Nothing appears under the destination's reference
 * before everything is there.
 */
export async function convertImage(
  source: string,
  destination: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  const started = performance.now();
  const settings = settingsOf(options);
  const from = await openSource(source, options);
  try {
    const set = await openImages(from.store, from.reference, options);
    const to = await openDestination(destination, options);
    try {
      const job = { source: from.store, destination: to.store, settings, options };
      const { root, images, layers } = await convertAll(job, set, options);
      await to.store.setReference(to.reference, root);
      await to.store.close();
      const summary = summarise(set, layers, (performance.now() - started) / 1000);
      return { source, destination, digest: root.digest, manifests: images.map(describe), summary };
    } catch (error) {
      await to.store.abort();
      throw error;
    }
  } finally {
    await from.store.close();
  }
}

interface ConvertedImage extends RewrittenImage {
  platform: string;
  layers: ConvertedLayer[];
}

async function convertAll(job: LayerJob, set: ImageSet, selection: PlatformSelection) {
  const layers = new Map<string, Promise<ConvertedLayer>>();
  const images: ConvertedImage[] = [];
  for (const image of set.images) images.push(await convertOne(job, image, layers));
  const root = await writeRoot(job, set, images, selection);
  return { root, images, layers: await Promise.all(layers.values()) };
}

/** Layers that occur twice, in one image or in several, are converted once. */
async function convertOne(
  job: LayerJob,
  image: Image,
  known: Map<string, Promise<ConvertedLayer>>,
): Promise<ConvertedImage> {
  const { manifest, config, descriptor, platform } = image;
  const layers: ConvertedLayer[] = [];
  for (const [i, layer] of manifest.layers.entries()) {
    const diffId = config.rootfs.diff_ids[i]!;
    const key = `${layer.digest} ${diffId} ${layer.mediaType} ${JSON.stringify(layer.annotations ?? {})}`;
    if (!known.has(key)) known.set(key, convertLayer(job, layer, diffId));
    layers.push(await known.get(key)!);
  }
  const what = descriptor.digest;
  const rewritten = rewriteImage(manifest, config, layers, { what, platform: descriptor.platform });
  for (const part of [rewritten.config, rewritten.manifest]) {
    await job.destination.writeBlob(part.descriptor, part.bytes);
  }
  return { ...rewritten, platform, layers };
}

/** One image stands for itself; several, or all of an index, are an index, in which everything that is no image stays as it was. */
async function writeRoot(
  job: LayerJob,
  { index, images: sources, others }: ImageSet,
  images: ConvertedImage[],
  { allPlatforms = false }: PlatformSelection,
): Promise<Descriptor> {
  if (index === null || (images.length === 1 && !allPlatforms)) return images[0]!.manifest.descriptor;
  const entries = images.map(({ manifest }, i) => ({
    source: sources[i]!.descriptor,
    image: manifest.descriptor,
  }));
  if (allPlatforms) {
    for (const other of others) {
      await copyManifest(job, other);
      entries.push({ source: other, image: other });
    }
  }
  const document = rewriteIndex(index, entries, job.source.name);
  await job.destination.writeBlob(document.descriptor, document.bytes);
  return document.descriptor;
}

function describe({ platform, manifest, layers }: ConvertedImage): ConvertResult['manifests'][number] {
  return {
    platform,
    digest: manifest.descriptor.digest,
    layers: layers.map(({ source, descriptor: { digest, size }, diffId, uncompressedSize, reused }) => ({
      ...{ source, digest, size, diffId, uncompressedSize, reused },
    })),
  };
}

function summarise(set: ImageSet, layers: ConvertedLayer[], seconds: number): ConvertResult['summary'] {
  const sizes = new Map(
    set.images.flatMap(({ manifest }) => manifest.layers.map(({ digest, size }) => [digest, size])),
  );
  const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
  return {
    layers: layers.length,
    bytesIn: total(layers.map(({ source }) => sizes.get(source) ?? 0)),
    bytesOut: total(layers.map(({ descriptor }) => descriptor.size)),
    seconds,
  };
}
