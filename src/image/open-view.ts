import { ErofsFilesystem, openErofs } from '../erofs/filesystem';
import { LruSpace } from '../erofs/lru-map';
import { MetadataCaches, openErofsImage } from '../erofs/open';
import { failure } from '../errors';
import type { InputFile } from '../fs/same-file';
import { isTarLayer } from '../format/media-types';
import type { ReadOptions } from '../layer/decode';
import { erofsSourceAt, type ErofsSourceOptions } from '../layer/erofs-source';
import { openLocation, type LayerLocation } from '../layer/location';
import { resourcesOf } from '../layer/resources';
import { parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { openFileSource } from '../source/file';
import { openNamedFile } from '../source/input-file';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { layersOf, readIndexOf, type ImageLayer } from './image-layers';
import { openImageSet } from './image-set';
import { inputFile, inputFiles } from './input-files';
import { LocalSources } from './local-sources';
import { MergedTree, type OpenLayer } from './merged-tree';

/** What every command takes that reads files out of an image or a layer. */
export interface ViewOptions extends ReadOptions, RegistryOptions {
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
    const { transport } = parseReference(refOrPath);
    const tree =
      transport === 'file' || transport === 'http'
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

/** Images of layers that lie in files, the lowest first, merged as overlayfs would, for the time that `use` takes. */
export async function withImageFiles<T>(
  files: readonly string[],
  use: (tree: MergedTree) => Promise<T>,
): Promise<T> {
  const opened: ByteSource[] = [];
  try {
    const layers: OpenLayer[] = [];
    for (const file of files) {
      const source = await openFileSource(file);
      opened.push(source);
      layers.push({ name: source.name, filesystem: await openErofs(source) });
    }
    return await use(await MergedTree.open(layers, true));
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
  const { devices = [], oneLayer, platform } = options;
  if (devices.length > 0)
    throw failure('USAGE', text, 'external devices are of a single layer', 'leave out --device');
  const { store, reference } = await openSource(text, options);
  resources.keep(store);
  const set = await openImageSet(store, reference, {
    platforms: platform === undefined ? undefined : [platform],
    feature: 'erofs',
  });
  resources.inputs.push(...inputFiles(parseReference(text), set));
  const layers = layersOf(set.images[0]!);
  const chosen = oneLayer === undefined ? layers : [layerAt(layers, oneLayer, text)];
  const opened: OpenLayer[] = [];
  for (const layer of chosen) opened.push(await openStored(store, layer, options, resources));
  if (opened.length === 0) throw failure('UNSUPPORTED', text, 'the image has no layers');
  return MergedTree.open(opened, oneLayer === undefined);
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
  store: SourceStore,
  layer: ImageLayer,
  options: ViewOptions,
  resources: Resources,
): Promise<OpenLayer> {
  const { descriptor } = layer;
  // Before it is looked for: a tar may be one that registries don't keep.
  if (isTarLayer(descriptor.mediaType)) {
    const hint = 'make it EROFS first: see convert';
    throw failure('USAGE', descriptor.digest, `it is a tar layer (${descriptor.mediaType})`, hint);
  }
  const indexLayer = await readIndexOf(store, layer);
  return openLayer(await store.openBlob(descriptor), { ...options, descriptor, indexLayer }, resources);
}

async function openLayer(
  location: LayerLocation,
  options: ErofsSourceOptions,
  resources: Resources,
  devices: readonly ByteSource[] = [],
): Promise<OpenLayer> {
  const stored = await openLocation(location, options);
  const { chunks, metadata } = resources.caches;
  const source = resources.keep(await erofsSourceAt(stored, { ...options, cacheSpace: chunks }));
  resources.local.add(source, stored);
  const image = await openErofsImage(source, { devices, signal: options.signal }, metadata);
  return { name: source.name, filesystem: new ErofsFilesystem(image) };
}
