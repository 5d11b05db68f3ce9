import { openErofs, type ErofsFilesystem } from '../../erofs/filesystem';
import { LruSpace } from '../../erofs/lru-map';
import type { ReadOptions } from '../../layer/decode';
import { deviceSourceAt, erofsSourceAt } from '../../layer/erofs-source';
import { layerKind, type LayerKind } from '../../layer/layer-kind';
import { openLocation } from '../../layer/location';
import type { BlobReader } from '../../layer/open-blob';
import { isSeekableLayer } from '../../layer/seekable';
import { streamCompression } from '../../format/media-types';
import { namesLayer } from '../../oci/reference';
import type { SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';
import type { ByteSource } from '../../source/byte-source';
import { openSource } from '../../store/open';
import type { RegistryOptions } from '../../store/registry/options';
import { compose, roleOf } from '../composition';
import { checkDeviceLayers } from '../device-layers';
import { layersOf, readIndexOf, type ComposedLayer, type ImageLayer } from '../image-layers';
import { openImageSet } from '../image-set';
import { MergedTree } from '../merged-tree';

export interface OpenLayersOptions extends ReadOptions, RegistryOptions {
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
}

/** A layer that a page shows. */
export interface PageSource {
  /** Of an image's layer. */
  descriptor: Descriptor | undefined;
  diffId: string | null;
  size: number;
  kind: LayerKind | 'device';
  /** Null of what has no table of chunks. */
  blob: BlobReader | null;
  /** What extents of files name as the source of their data; null of what is not looked into. */
  bytes: ByteSource | null;
  /** Null of a device, a tar, and of zstd without a table, of which nothing is known before all of it is read. */
  filesystem: ErofsFilesystem | null;
}

/** All layers of an image, or the one of a path or a URL. */
export interface OpenLayers {
  digest: string | null;
  platform: string | null;
  layers: PageSource[];
  /** Merged as overlayfs would; null where one of the layers can't be looked into. */
  tree: MergedTree | null;
  /** The place in `layers` of each lower layer of the tree. */
  places: number[];
  close(): Promise<void>;
}

/** Opened one after the other, closed in reverse. */
class Opened {
  /** Of decoded chunks, of all layers together. */
  readonly cacheSpace = new LruSpace(64 << 20);
  private readonly closers: (() => Promise<void>)[] = [];

  keep<T extends { close(): Promise<void> }>(resource: T): T {
    this.closers.push(() => resource.close());
    return resource;
  }

  async close(): Promise<void> {
    for (const close of this.closers.splice(0).reverse()) await close();
  }
}

/**
 * Opens what a page shows. Of seekable layers, and of a raw image in a file, tables and superblocks are read; a raw image elsewhere is
 * fetched whole, for its parts can't be checked.
 */
export async function openLayers(refOrPath: string, options: OpenLayersOptions): Promise<OpenLayers> {
  const opened = new Opened();
  const close = (): Promise<void> => opened.close();
  try {
    if (namesLayer(refOrPath)) {
      const stored = await openLocation(refOrPath, options);
      const layer = await openLayer(stored, { ...options, diffId: null }, opened);
      const tree = await mergedTree([layer], [], false);
      return { digest: null, platform: null, layers: [layer], tree, places: [0], close };
    }
    const { store, reference } = await openSource(refOrPath, options);
    opened.keep(store);
    return { ...(await openImage(store, reference, options, opened)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openImage(
  store: SourceStore,
  reference: string | undefined,
  options: OpenLayersOptions,
  opened: Opened,
): Promise<Omit<OpenLayers, 'close'>> {
  const { platform } = options;
  const platforms = platform === undefined ? undefined : [platform];
  const set = await openImageSet(store, reference, { platforms, feature: 'erofs' });
  const image = set.images[0]!;
  const stored = layersOf(image);
  const { lowers, data } = compose(stored);
  const found = new Map<Descriptor, PageSource>();
  for (const layer of stored)
    if (roleOf(layer.descriptor) === 'device')
      found.set(layer.descriptor, await openDevice(store, layer, options, opened));
  for (const layer of [...lowers, ...data])
    found.set(layer.descriptor, await openStored(store, layer, found, options, opened));
  const sourceOf = ({ descriptor }: ImageLayer): PageSource => found.get(descriptor)!;
  const layers = stored.map(sourceOf);
  const places = lowers.map((layer) => layers.indexOf(sourceOf(layer)));
  const tree = await mergedTree(lowers.map(sourceOf), data.map(sourceOf));
  if (data.length > 0) await tree?.checkData(options.signal);
  return { digest: image.descriptor.digest, platform: image.platform, layers, tree, places };
}

async function mergedTree(
  lowers: readonly PageSource[],
  data: readonly PageSource[],
  overlay = true,
): Promise<MergedTree | null> {
  if (lowers.length === 0 || [...lowers, ...data].some(({ filesystem }) => filesystem === null)) return null;
  const [below, beside] = [lowers, data].map((layers) =>
    layers.map(({ filesystem }, i) => ({ name: `layer ${i}`, filesystem: filesystem! })),
  );
  return MergedTree.open(below!, overlay, beside);
}

async function openStored(
  store: SourceStore,
  layer: ComposedLayer,
  found: ReadonlyMap<Descriptor, PageSource>,
  options: OpenLayersOptions,
  opened: Opened,
): Promise<PageSource> {
  const { descriptor, diffId } = layer;
  const indexLayer = await readIndexOf(store, layer);
  const devices = layer.devices.map((device) => found.get(device.descriptor)!.bytes!);
  const file = await store.openBlob(descriptor);
  return openLayer(file, { ...options, descriptor, indexLayer, diffId, devices }, opened);
}

/** The bytes of a device are not read: only files have a place in it. */
async function openDevice(
  store: SourceStore,
  layer: ImageLayer,
  options: OpenLayersOptions,
  opened: Opened,
): Promise<PageSource> {
  const { descriptor, diffId, index } = layer;
  const indexLayer = await readIndexOf(store, layer);
  const stored = await store.openBlob(descriptor);
  const { size } = stored;
  const isPlain = !isSeekableLayer(descriptor, index) && streamCompression(descriptor.mediaType) === 'none';
  const own = {
    ...options,
    descriptor: { ...descriptor, diffId },
    indexLayer,
    cacheSpace: opened.cacheSpace,
  };
  const bytes = opened.keep(isPlain ? stored : await deviceSourceAt(stored, own));
  return { descriptor, diffId, size, kind: 'device', blob: blobIn(bytes), bytes, filesystem: null };
}

interface LayerOptions extends OpenLayersOptions {
  diffId: string | null;
  /** Of a layer of an image: those that its files have data on. */
  devices?: readonly ByteSource[];
}

/** Takes `stored` over. */
async function openLayer(
  stored: ByteSource,
  { diffId, devices, ...options }: LayerOptions,
  opened: Opened,
): Promise<PageSource> {
  const { descriptor, allowUnverified = false, signal } = options;
  const common = { descriptor: descriptor as Descriptor | undefined, diffId, size: stored.size };
  const kind = await layerKind(stored, options).catch(async (error: unknown) => {
    await stored.close();
    throw error;
  });
  if (kind === 'tar' || (kind === 'zstd' && !allowUnverified)) {
    await stored.close();
    return { ...common, kind, blob: null, bytes: null, filesystem: null };
  }
  const bytes = opened.keep(await erofsSourceAt(stored, { ...options, cacheSpace: opened.cacheSpace }));
  if (devices !== undefined) await checkDeviceLayers(bytes, devices, signal);
  return {
    ...common,
    kind,
    blob: blobIn(bytes),
    bytes,
    filesystem: await openErofs(bytes, { devices, signal }),
  };
}

const blobIn = (bytes: ByteSource): BlobReader | null => ('section' in bytes ? (bytes as BlobReader) : null);
