import { openErofs, type ErofsFilesystem } from '../../erofs/filesystem';
import type { ReadOptions } from '../../layer/decode';
import { layerKind } from '../../layer/layer-kind';
import { openBlobIn, type BlobReader } from '../../layer/open-blob';
import { isSeekableLayer } from '../../layer/seekable';
import { parseReference } from '../../oci/reference';
import type { SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';
import type { ByteSource } from '../../source/byte-source';
import { openInputFile } from '../../source/input-file';
import { sliceSource } from '../../source/slice';
import { openSource } from '../../store/open';
import type { RegistryOptions } from '../../store/registry/options';
import { layersOf, readIndexOf } from '../image-layers';
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
  /** Null of what has no table of chunks, with which neither its image is looked at: a tar, or a raw image in a registry. */
  blob: BlobReader | null;
  filesystem: ErofsFilesystem | null;
}

/** All layers of an image, or the one of a path. */
export interface OpenLayers {
  digest: string | null;
  platform: string | null;
  layers: PageSource[];
  /** Merged as overlayfs would; null where one of the layers is no EROFS. */
  tree: MergedTree | null;
  close(): Promise<void>;
}

/** Opens what a page shows; only tables and superblocks are read. */
export async function openLayers(refOrPath: string, options: OpenLayersOptions): Promise<OpenLayers> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    if (parseReference(refOrPath).transport === 'file') {
      const file = await openInputFile(refOrPath, options);
      closers.push(() => file.close());
      const layer = await openOne(file, { ...options, diffId: null }, closers);
      return { digest: null, platform: null, layers: [layer], tree: await treeOf([layer], false), close };
    }
    const { store, reference } = await openSource(refOrPath, options);
    closers.push(() => store.close());
    return { ...(await openImage(store, reference, options, closers)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openImage(
  store: SourceStore,
  reference: string | undefined,
  options: OpenLayersOptions,
  closers: (() => Promise<void>)[],
): Promise<Omit<OpenLayers, 'close'>> {
  const { platform } = options;
  const platforms = platform === undefined ? undefined : [platform];
  const set = await openImageSet(store, reference, { platforms, feature: 'erofs' });
  const image = set.images[0]!;
  const layers: PageSource[] = [];
  for (const layer of layersOf(image)) {
    const { descriptor, diffId } = layer;
    if (!isSeekableLayer(descriptor, layer.index)) {
      layers.push({ descriptor, diffId, size: descriptor.size, blob: null, filesystem: null });
      continue;
    }
    const file = await store.openBlob(descriptor);
    closers.push(() => file.close());
    const indexLayer = await readIndexOf(store, layer);
    layers.push(await openOne(file, { ...options, descriptor, indexLayer, diffId }, closers));
  }
  return {
    digest: image.descriptor.digest,
    platform: image.platform,
    layers,
    tree: await treeOf(layers, true),
  };
}

async function openOne(
  file: ByteSource,
  { diffId, ...options }: OpenLayersOptions & { diffId: string | null },
  closers: (() => Promise<void>)[],
): Promise<PageSource> {
  const { descriptor, signal } = options;
  const kind = await layerKind(file, options);
  const common = { descriptor: descriptor as Descriptor | undefined, diffId, size: file.size };
  if (kind === 'raw') return { ...common, blob: null, filesystem: await openErofs(file, { signal }) };
  if (kind !== 'seekable') return { ...common, blob: null, filesystem: null };
  const blob = await openBlobIn(sliceSource(file, 0, file.size), options);
  closers.push(() => blob.close());
  return { ...common, blob, filesystem: await openErofs(blob, { signal }) };
}

async function treeOf(layers: readonly PageSource[], overlay: boolean): Promise<MergedTree | null> {
  const opened = layers.flatMap(({ filesystem }, i) =>
    filesystem === null ? [] : [{ name: `layer ${i}`, filesystem }],
  );
  if (opened.length === 0 || opened.length < layers.length) return null;
  return MergedTree.open(opened, overlay);
}
