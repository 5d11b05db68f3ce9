import { isForeignLayer } from '../format/media-types';
import { openLocation } from '../layer/location';
import { isSeekableLayer } from '../layer/seekable';
import { sniffLayer } from '../layer/sniff';
import { omit } from '../oci/json';
import { namesLayer, parseReference } from '../oci/reference';
import { isInRegistry, registryOptionNames } from '../oci/registry-options';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { roleOf } from './composition';
import { checkVisiblyFitting } from './fitting-layers';
import { layersOf, readIndexOf, type ImageLayer } from './image-layers';
import { notImages, openImageSet, type Image, type PlatformSelection } from './image-set';
import {
  openLayerInspection,
  type BlobInspection,
  type LayerInspectOptions,
  type OpenLayerInspection,
  type StreamedBlob,
} from './inspect-layer';
import type { ListedEntry } from './list';
import { StoredParts, type SharedWith } from './sharing';
import { checkSubjects } from './subject';
import { checkOptions } from '../options';
import { publicName } from '../public-name';

/** What an image is made of. */
export interface ImageInspection {
  /** Of what the reference names: a manifest or an index. */
  digest: string;
  mediaType: string;
  /** Only when it was asked for. */
  sharedWith?: SharedWith[];
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
  extends LayerInspectOptions, RegistryOptions, Pick<PlatformSelection, 'platforms'> {
  /** Say how much of it each of these images has, too; references, or blobs in files. */
  sharedWith?: readonly string[] | undefined;
}

/** As the whole inspection of an image, but for what grows with it, which is found while it is gone through: once, and in order. */
export interface StreamedImage {
  digest: string;
  mediaType: string;
  sharedWith?: SharedWith[];
  manifests: AsyncIterable<StreamedManifest>;
}

/** A manifest of a StreamedImage. */
export interface StreamedManifest {
  platform: string;
  digest: string;
  config: string;
  layers: AsyncIterable<StreamedBlob & { descriptor: Descriptor }>;
}

/** What is looked at, until it is closed. */
export interface OpenInspection {
  document: StreamedBlob | StreamedImage;
  /** Ends reading: the document is not gone through after it. */
  close(): Promise<void>;
}

/**
 * What an image (all platforms, unless some are named) or a layer in a file or on a web server is made of: manifests, annotations, chunk tables, dm-verity
 * superblocks, directories. Tables are checked against their digests; the data of files is not read.
 */
export async function inspect(
  refOrPath: string,
  options: InspectOptions = {},
): Promise<BlobInspection | ImageInspection> {
  const opened = await openInspection(refOrPath, options);
  try {
    const { document } = opened;
    return 'manifests' in document ? await wholeImage(document) : await wholeBlob(document);
  } finally {
    await opened.close();
  }
}

/** As inspect(), in memory that doesn't grow with the directory trees. close() it. */
export async function openInspection(
  refOrPath: string,
  options: InspectOptions = {},
): Promise<OpenInspection> {
  checkOptions('inspect', options);
  const { sharedWith: others = [], ...own } = options;
  const speaks = others.some((other) => isInRegistry(parseReference(other)));
  checkSubjects([refOrPath], speaks ? omit(own, ...registryOptionNames) : own);
  const sharedWith = await measureSharedWith(refOrPath, others, own);
  const opened = namesLayer(refOrPath)
    ? await openAlone(refOrPath, own)
    : await openReference(refOrPath, own);
  return others.length === 0 ? opened : { ...opened, document: { sharedWith, ...opened.document } };
}

async function measureSharedWith(
  refOrPath: string,
  others: readonly string[],
  options: InspectOptions,
): Promise<SharedWith[]> {
  if (others.length === 0) return [];
  const parts = await StoredParts.read(refOrPath, options);
  const shared: SharedWith[] = [];
  for (const other of others) {
    const theirs = await StoredParts.read(other, { ...options, descriptor: undefined });
    shared.push(parts.sharedWith(publicName(other), theirs));
  }
  return shared;
}

async function wholeImage({ manifests, ...image }: StreamedImage): Promise<ImageInspection> {
  const whole: ImageInspection['manifests'] = [];
  for await (const { layers, ...manifest } of manifests) {
    const wholeLayers: ImageInspection['manifests'][number]['layers'] = [];
    for await (const { descriptor, ...layer } of layers)
      wholeLayers.push({ descriptor, ...(await wholeBlob(layer)) });
    whole.push({ ...manifest, layers: wholeLayers });
  }
  return { ...image, manifests: whole };
}

async function wholeBlob({ tree, ...blob }: StreamedBlob): Promise<BlobInspection> {
  if (tree === null) return { ...blob, tree };
  const entries: ListedEntry[] = [];
  for await (const entry of tree) entries.push(entry);
  return { ...blob, tree: entries };
}

async function openAlone(location: string, options: LayerInspectOptions): Promise<OpenInspection> {
  const file = await openLocation(location, options);
  return ownedBy(file, () => openLayerInspection(file, options));
}

async function openReference(text: string, options: InspectOptions): Promise<OpenInspection> {
  const { platforms } = options;
  const { store, reference } = await openSource(text, options);
  return ownedBy(store, async () => {
    const set = await openImageSet(store, reference, { platforms, allPlatforms: platforms === undefined });
    const { digest, mediaType } = set.descriptor;
    const leftOut = notImages(set, options);
    if (leftOut !== null) options.onWarning?.(`${store.name}: ${leftOut}`);
    return {
      document: { digest, mediaType, manifests: manifestsOf(store, set.images, options) },
      close: async () => undefined,
    };
  });
}

/** What is opened of a resource, which is closed after it, also when opening fails. */
async function ownedBy<T extends { close(): Promise<void> }>(
  owner: { close(): Promise<void> },
  open: () => Promise<T>,
): Promise<T> {
  try {
    const opened = await open();
    const close = async (): Promise<void> => {
      await opened.close();
      await owner.close();
    };
    return { ...opened, close };
  } catch (error) {
    await owner.close();
    throw error;
  }
}

async function* manifestsOf(
  store: SourceStore,
  images: readonly Image[],
  options: LayerInspectOptions,
): AsyncGenerator<StreamedManifest> {
  for (const image of images) {
    const { platform, manifest, descriptor } = image;
    const config = manifest.config.digest;
    yield { platform, digest: descriptor.digest, config, layers: inspectLayers(store, image, options) };
  }
}

async function* inspectLayers(
  store: SourceStore,
  image: Image,
  options: LayerInspectOptions,
): AsyncGenerator<StreamedBlob & { descriptor: Descriptor }> {
  await checkVisiblyFitting(store, image, options);
  for (const layer of layersOf(image)) {
    const { descriptor, index } = layer;
    const opened = await openStoredInspection(store, layer, options);
    try {
      yield { descriptor, ...opened.document };
    } finally {
      await opened.close();
    }
    if (index !== null) yield { descriptor: index.descriptor, ...inspectIndexLayer(index.descriptor) };
  }
}

async function openStoredInspection(
  store: SourceStore,
  layer: ImageLayer,
  options: LayerInspectOptions,
): Promise<OpenLayerInspection> {
  const { descriptor } = layer;
  const { mediaType, size } = descriptor;
  if (isForeignLayer(mediaType)) {
    const document = { mediaType, size, profile: null, table: null, dmverity: null, tree: null };
    return { document, close: async () => undefined };
  }
  const isDevice = roleOf(descriptor) === 'device';
  const file = isDevice ? await store.openBlob(descriptor) : await openStored(store, layer, options);
  return ownedBy(file, async () => {
    const indexLayer = await readIndexOf(store, layer);
    return openLayerInspection(file, { ...options, descriptor, indexLayer, isDevice });
  });
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
function inspectIndexLayer({ mediaType, size }: Descriptor): StreamedBlob {
  return { mediaType, size, profile: 'erofs-image-spec', table: null, dmverity: null, tree: null };
}
