import { ErofsFilesystem, openErofs } from '../erofs/filesystem';
import { LruSpace } from '../erofs/lru-map';
import { MetadataCaches, openErofsImage } from '../erofs/open';
import { failure } from '../errors';
import type { InputFile } from '../fs/same-file';
import { isTarLayer, streamCompression } from '../format/media-types';
import type { ReadOptions } from '../layer/decode';
import { deviceSourceAt, erofsSourceAt, type ErofsSourceOptions } from '../layer/erofs-source';
import { openLocation, type LayerLocation } from '../layer/location';
import type { FrameCacheOptions, SharedCacheOptions } from '../layer/open-blob';
import { resourcesOf } from '../layer/resources';
import { isBlobFile } from '../layer/spool';
import { isSeekableLayer } from '../layer/seekable';
import { namesLayer, parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { openFileSource } from '../source/file';
import { openNamedFile } from '../source/input-file';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { compose } from './composition';
import { checkDeviceLayers } from './device-layers';
import { layersOf, readIndexOf, type ComposedLayer, type ImageLayer } from './image-layers';
import { openImageSet, type Image } from './image-set';
import { inputFile, inputFiles } from './input-files';
import { LocalSources } from './local-sources';
import { MergedTree, type OpenLayer } from './merged-tree';

/** What every command takes that reads files out of an image or a layer. */
export interface ViewOptions extends ReadOptions, RegistryOptions, FrameCacheOptions {
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
  /** Only this layer of an image, from 0 at the bottom, as it is: its whiteouts show. */
  oneLayer?: number | undefined;
  /** Files with the external devices of a single layer's image, in its order. */
  devices?: readonly string[] | undefined;
}

/** Of decoded chunks, of all layers of an image together. */
const cachedBytes = 64 << 20;

/** What all layers of an image keep in memory, in common room. */
class Caches {
  readonly chunks = new LruSpace(cachedBytes);
  readonly metadata = new MetadataCaches();
}

/** An image or a layer, open for reading its files. */
export interface View {
  tree: MergedTree;
  local: LocalSources;
  /** The local files that it is read from. */
  inputs: readonly InputFile[];
  close(): Promise<void>;
}

/** Opened one after the other, closed in reverse, whatever happens in between. */
class Resources {
  readonly local: LocalSources;
  readonly caches = new Caches();
  readonly inputs: InputFile[] = [];
  /** Device layers, by their digests. */
  readonly devices = new Map<string, ByteSource>();
  private readonly opened: { close(): Promise<void> }[] = [];

  constructor({ threads }: { threads: number }) {
    this.local = this.keep(new LocalSources(threads));
  }

  keep<T extends { close(): Promise<void> }>(resource: T): T {
    this.opened.push(resource);
    return resource;
  }

  async close(): Promise<void> {
    for (const resource of this.opened.splice(0).reverse()) await resource.close();
  }
}

/**
 * Opens what a reference, path or URL names: an image's layers merged as overlayfs would, or one layer (EROFS, raw or a seekable blob) as it
 * is. Only tables and superblocks are read. USAGE for tar layers, with a hint at how to convert them; else as openImageSet() and openBlob().
 */
export async function openView(refOrPath: string, options: ViewOptions = {}): Promise<View> {
  const resources = new Resources(resourcesOf(options));
  try {
    const tree = namesLayer(refOrPath)
      ? await openSingle(refOrPath, options, resources)
      : await openReference(refOrPath, options, resources);
    const { local, inputs } = resources;
    return { tree, local, inputs, close: () => resources.close() };
  } catch (error) {
    await resources.close();
    throw error;
  }
}

/** Opens a view for the time that `use` takes. */
export async function withView<T>(
  refOrPath: string,
  options: ViewOptions,
  use: (view: View) => Promise<T>,
): Promise<T> {
  const view = await openView(refOrPath, options);
  try {
    return await use(view);
  } finally {
    await view.close();
  }
}

/** Of each layer, the files with its image and its external devices. */
export interface ImageFiles {
  /** The lowest first. */
  lowers: readonly (readonly string[])[];
  /** Data-only layers, in the order in which they are asked. */
  data: readonly (readonly string[])[];
}

/** Images of layers that lie in files, merged as overlayfs would, for the time that `use` takes. */
export async function withImageFiles<T>(
  { lowers, data }: ImageFiles,
  use: (tree: MergedTree) => Promise<T>,
): Promise<T> {
  const opened: ByteSource[] = [];
  const openFile = async (file: string): Promise<ByteSource> => {
    const source = await openFileSource(file);
    opened.push(source);
    return source;
  };
  const openAll = async (layers: ImageFiles['data']): Promise<OpenLayer[]> => {
    const found: OpenLayer[] = [];
    for (const [image, ...devices] of layers) {
      const source = await openFile(image!);
      const external: ByteSource[] = [];
      for (const device of devices) external.push(await openFile(device));
      found.push({ name: source.name, filesystem: await openErofs(source, { devices: external }) });
    }
    return found;
  };
  try {
    return await use(await MergedTree.open(await openAll(lowers), true, await openAll(data)));
  } finally {
    for (const source of opened) await source.close();
  }
}

async function openSingle(path: string, options: ViewOptions, resources: Resources): Promise<MergedTree> {
  const { devices = [], oneLayer = 0 } = options;
  if (oneLayer !== 0) throw failure('NOT_FOUND', path, `it has no layer ${oneLayer}: it is a single layer`);
  const opened: ByteSource[] = [];
  if (parseReference(path).transport === 'file') resources.inputs.push(...[path, ...devices].map(inputFile));
  for (const path of devices) {
    const device = resources.keep(await openNamedFile(path, options));
    resources.local.add(device, device);
    opened.push(device);
  }
  return MergedTree.open([await openLayer(path, options, resources, opened)], false);
}

async function openReference(text: string, options: ViewOptions, resources: Resources): Promise<MergedTree> {
  const { devices = [], platform } = options;
  if (devices.length > 0)
    throw failure('USAGE', text, 'external devices are of a single layer', 'leave out --device');
  const { store, reference } = await openSource(text, options);
  resources.keep(store);
  const set = await openImageSet(store, reference, {
    platforms: platform === undefined ? undefined : [platform],
    feature: 'erofs',
  });
  resources.inputs.push(...inputFiles(parseReference(text), set));
  return openImage({ store, image: set.images[0]!, name: text }, options, resources);
}

/** An image of an open store. */
export interface StoredImage {
  store: Pick<SourceStore, 'openBlob'>;
  image: Pick<Image, 'manifest' | 'config'>;
  /** For errors. */
  name: string;
}

/** What callers of this package may say as well. */
interface TreeOptions extends ViewOptions {
  /**
   * The data of files is not read. What has no chunk index is not fetched for a look at its metadata, and so not compared with its digest; of
   * devices their lengths are known alone: `known` where a descriptor or an index tells them, `all` where they have to be decompressed for that.
   */
  deviceLengths?: 'known' | 'all' | undefined;
}

/** Runs `use` on the merged tree of an image whose store is open. Errors as openView(). */
export async function withImageTree<T>(
  stored: StoredImage,
  options: TreeOptions,
  use: (tree: MergedTree) => Promise<T>,
): Promise<T> {
  const resources = new Resources(resourcesOf(options));
  try {
    return await use(await openImage(stored, options, resources));
  } finally {
    await resources.close();
  }
}

async function openImage(
  { store, image, name: text }: StoredImage,
  options: TreeOptions,
  resources: Resources,
): Promise<MergedTree> {
  const { oneLayer } = options;
  const layers = layersOf(image);
  const { lowers, data } = compose(layers);
  const openAll = async (composed: readonly ComposedLayer[]): Promise<OpenLayer[]> => {
    const opened: OpenLayer[] = [];
    for (const layer of composed) opened.push(await openStored(store, layer, options, resources));
    return opened;
  };
  if (oneLayer !== undefined) {
    const { descriptor } = layerAt(layers, oneLayer, text);
    const chosen = [...lowers, ...data].filter((layer) => layer.descriptor === descriptor);
    if (chosen.length > 0) return MergedTree.open(await openAll(chosen), false);
    throw failure('USAGE', text, `its layer ${oneLayer} is a device: bytes that other layers point into`);
  }
  if (lowers.length === 0) throw failure('UNSUPPORTED', text, 'the image has no layers');
  return MergedTree.open(await openAll(lowers), true, await openAll(data));
}

function layerAt(layers: readonly ImageLayer[], number: number, what: string): ImageLayer {
  const layer = layers[number];
  if (layer !== undefined) return layer;
  throw failure(
    'NOT_FOUND',
    what,
    `it has no layer ${number}: it has ${layers.length}, from 0 at the bottom`,
  );
}

async function openStored(
  store: StoredImage['store'],
  layer: ComposedLayer,
  options: TreeOptions,
  resources: Resources,
): Promise<OpenLayer> {
  const { descriptor } = layer;
  // Before it is looked for: a tar may be one that registries don't keep.
  if (isTarLayer(descriptor.mediaType)) {
    const hint = 'make it EROFS first: see convert';
    throw failure('USAGE', descriptor.digest, `it is a tar layer (${descriptor.mediaType})`, hint);
  }
  const devices: ByteSource[] = [];
  for (const device of layer.devices) devices.push(await openDevice(store, device, options, resources));
  const indexLayer = await readIndexOf(store, layer);
  const isChecked = options.deviceLengths === undefined || isSeekableLayer(descriptor, indexLayer);
  const own = { ...options, descriptor: isChecked ? descriptor : undefined, indexLayer };
  return openLayer(await store.openBlob(descriptor), own, resources, devices, true);
}

/** A device that several layers use is opened once. */
async function openDevice(
  store: StoredImage['store'],
  layer: ImageLayer,
  options: TreeOptions,
  resources: Resources,
): Promise<ByteSource> {
  const { descriptor, diffId } = layer;
  const known = resources.devices.get(descriptor.digest);
  if (known !== undefined) return known;
  const indexLayer = await readIndexOf(store, layer);
  const length = isSeekableLayer(descriptor, indexLayer) ? null : lengthOf(descriptor, options);
  if (length !== null) return deviceOfLength(descriptor.digest, length);
  const stored = await store.openBlob(descriptor);
  const own = { ...options, descriptor: { ...descriptor, diffId }, indexLayer };
  const device = resources.keep(await deviceSourceAt(stored, cachedBy(own, stored, resources)));
  resources.local.add(device, stored);
  resources.devices.set(descriptor.digest, device);
  return device;
}

/** How long a device without a chunk index is, where that is all that is asked; infinite where nobody knows. Null: it is to be opened. */
function lengthOf({ mediaType, size }: Descriptor, { deviceLengths }: TreeOptions): number | null {
  if (deviceLengths === undefined) return null;
  if (streamCompression(mediaType) === 'none') return size;
  return deviceLengths === 'known' ? Infinity : null;
}

/** A device of which nothing is read. */
function deviceOfLength(digest: string, size: number): ByteSource {
  const name = `blob ${digest}`;
  const read = (): Promise<never> => Promise.reject(failure('CORRUPT', name, 'metadata lies on a device'));
  return { name, size, read, close: async () => undefined };
}

/** The options with the caches that a layer is read through: frames of a blob on this machine are kept nowhere else. */
function cachedBy(
  options: ErofsSourceOptions,
  stored: ByteSource,
  { caches }: Resources,
): ErofsSourceOptions & SharedCacheOptions {
  const own = { ...options, cacheSpace: caches.chunks };
  return isBlobFile(stored) ? { ...own, cacheDir: undefined } : own;
}

async function openLayer(
  location: LayerLocation,
  options: ErofsSourceOptions,
  resources: Resources,
  devices: readonly ByteSource[] = [],
  areLayers = false,
): Promise<OpenLayer> {
  const stored = await openLocation(location, options);
  const source = resources.keep(await erofsSourceAt(stored, cachedBy(options, stored, resources)));
  resources.local.add(source, stored);
  if (areLayers) await checkDeviceLayers(source, devices, options.signal);
  const image = await openErofsImage(source, { devices, signal: options.signal }, resources.caches.metadata);
  return { name: source.name, filesystem: new ErofsFilesystem(image) };
}
