import { isForeignLayer } from '../format/media-types';
import { isSeekableLayer } from '../layer/seekable';
import { sniffLayer } from '../layer/sniff';
import { parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { openInputFile } from '../source/input-file';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { layersOf, readIndexOf, type ImageLayer } from './image-layers';
import { openImageSet, type Image, type PlatformSelection } from './image-set';
import { inspectLayer, type BlobInspection, type LayerInspectOptions } from './inspect-layer';
import { checkSubjects } from './subject';
import { checkOptions } from '../options';

/** What an image is made of. */
export interface ImageInspection {
  /** Of what the reference names: a manifest or an index. */
  digest: string;
  mediaType: string;
  manifests: {
    /** `os/arch[/variant]`. */
    platform: string;
    digest: string;
    /** The config's digest. */
    config: string;
    layers: (BlobInspection & { descriptor: Descriptor })[];
  }[];
}

/** What inspect() takes. */
export interface InspectOptions
  extends LayerInspectOptions, RegistryOptions, Pick<PlatformSelection, 'platforms'> {}

/**
 * What an image (all platforms, unless some are named) or a layer in a file is made of: manifests, annotations, chunk tables, dm-verity
 * superblocks, directories. Tables are checked against their digests; the data of files is not read.
 */
export async function inspect(
  refOrPath: string,
  options: InspectOptions = {},
): Promise<BlobInspection | ImageInspection> {
  checkOptions('inspect', options);
  checkSubjects([refOrPath], options);
  return parseReference(refOrPath).transport === 'file'
    ? inspectFile(refOrPath, options)
    : inspectReference(refOrPath, options);
}

async function inspectFile(path: string, options: LayerInspectOptions): Promise<BlobInspection> {
  const file = await openInputFile(path, options);
  try {
    return await inspectLayer(file, options);
  } finally {
    await file.close();
  }
}

async function inspectReference(text: string, options: InspectOptions): Promise<ImageInspection> {
  const { platforms } = options;
  const { store, reference } = await openSource(text, options);
  try {
    const set = await openImageSet(store, reference, { platforms, allPlatforms: platforms === undefined });
    const manifests: ImageInspection['manifests'] = [];
    for (const image of set.images) manifests.push(await inspectManifest(store, image, options));
    return { digest: set.descriptor.digest, mediaType: set.descriptor.mediaType, manifests };
  } finally {
    await store.close();
  }
}

async function inspectManifest(store: SourceStore, image: Image, options: LayerInspectOptions) {
  const layers: (BlobInspection & { descriptor: Descriptor })[] = [];
  for (const layer of layersOf(image)) {
    const { descriptor, index } = layer;
    layers.push({ descriptor, ...(await inspectStored(store, layer, options)) });
    if (index !== null) layers.push({ descriptor: index.descriptor, ...inspectIndexLayer(index.descriptor) });
  }
  const { platform, manifest, descriptor } = image;
  return { platform, digest: descriptor.digest, config: manifest.config.digest, layers };
}

async function inspectStored(
  store: SourceStore,
  layer: ImageLayer,
  options: LayerInspectOptions,
): Promise<BlobInspection> {
  const { descriptor } = layer;
  const { mediaType, size } = descriptor;
  if (isForeignLayer(mediaType))
    return { mediaType, size, profile: null, table: null, dmverity: null, tree: null };
  const file = await openStored(store, layer, options);
  try {
    return await inspectLayer(file, { ...options, descriptor, indexLayer: await readIndexOf(store, layer) });
  } finally {
    await file.close();
  }
}

/** A seekable blob by its parts, of a tar the first bytes; a raw image whole, for its parts can't be verified. */
async function openStored(
  store: SourceStore,
  { descriptor, index }: ImageLayer,
  options: LayerInspectOptions,
): Promise<ByteSource> {
  const source = await store.openBlob(descriptor);
  try {
    const isSeekable = isSeekableLayer(descriptor, index);
    if (isSeekable || (await sniffLayer(source, options.signal)) !== 'erofs') return source;
  } catch (error) {
    await source.close();
    throw error;
  }
  await source.close();
  return store.openFile(descriptor, options);
}

/** What it holds is shown with the layer that it is for. */
function inspectIndexLayer({ mediaType, size }: Descriptor): BlobInspection {
  return { mediaType, size, profile: 'erofs-image-spec', table: null, dmverity: null, tree: null };
}
