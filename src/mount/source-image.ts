import { readSeekableAnnotations } from '../format/annotations';
import { isTarLayer } from '../format/media-types';
import { failure } from '../errors';
import { layersOf, readIndexOf, type ImageLayer } from '../image/image-layers';
import { openImages } from '../image/images';
import { decodeTo, type ReadOptions } from '../layer/decode';
import { findTableFrame } from '../layer/frame-walk';
import { openLocation } from '../layer/location';
import { isSeekableLayer, openSeekable } from '../layer/seekable';
import { sniffLayer } from '../layer/sniff';
import { parseReference } from '../oci/reference';
import type { BlobFile, SourceStore } from '../oci/store';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { blobContent, hasContent, materialisedTree, rawContent } from './content-cache';
import type { LayerContent } from './layer-set-up';
import type { TreeStanding } from './plan';
import { fileIdentities, openRawFile, realPaths } from './raw-file';
import { spool } from './spool';
import type { MountState, VerityMode } from './state';

/** What of an image, or which layer, is mounted. */
export interface MountSourceOptions extends ReadOptions, RegistryOptions {
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
  /** Files with the external devices of a single layer's image, in its order. */
  devices?: readonly string[] | undefined;
}

/** A layer that is going to be mounted. */
export interface SourceLayer {
  /** For errors. */
  name: string;
  diffId: string;
  tree: TreeStanding;
  /** Of a tree that somebody vouches for, else null. */
  rootDigest: string | null;
  /** Which files are mounted where they lie, if any are. */
  files: readonly string[];
  /** Checks it, and makes it a file that the kernel can mount. */
  prepare(state: MountState, key: string, mode: VerityMode): Promise<Omit<LayerContent, 'extra'>>;
}

/** Layers, the lowest first, and what must stay open for them. */
export interface SourceImage {
  layers: SourceLayer[];
  close(): Promise<void>;
}

/** Opens what a reference, path or URL names. USAGE for tar layers, with a hint at how to convert them. */
export async function openImageLayers(refOrPath: string, options: MountSourceOptions): Promise<SourceImage> {
  const { transport } = parseReference(refOrPath);
  const isSingle = transport === 'file' || transport === 'http';
  return isSingle ? openSingle(refOrPath, options) : openReference(refOrPath, options);
}

async function openSingle(path: string, options: MountSourceOptions): Promise<SourceImage> {
  if (options.platform !== undefined)
    throw failure('USAGE', path, 'a single layer has no platform', 'leave out --platform');
  const file = await spool(await openLocation(path, options), options);
  try {
    const isBlob = await isSeekable(file, options);
    const layer = isBlob ? await openBlobFile(file, options) : await openRawFile(file, path, options);
    return { layers: [layer], close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Whether it is a seekable blob; else it is a raw image, or this fails. */
async function isSeekable(file: BlobFile, options: ReadOptions): Promise<boolean> {
  const { descriptor, allowUnverified = false, signal } = options;
  if (isSeekableLayer(descriptor, options.indexLayer)) return true;
  if (isTarLayer(descriptor?.mediaType ?? '')) throw isTar(file.name);
  const content = await sniffLayer(file, signal);
  if (content === 'erofs') return false;
  if (content === 'unknown') {
    throw failure('CORRUPT', file.name, 'its content is neither an EROFS image nor a seekable blob');
  }
  const mayBeBlob = content === 'zstd';
  // A descriptor without a table's digest is refused when the blob is opened; looking for a table reads all of it.
  const isRefused = mayBeBlob && descriptor !== undefined && !allowUnverified;
  if (isRefused || (mayBeBlob && (await findTableFrame(file, signal)) !== null)) return true;
  throw isTar(file.name);
}

function isTar(name: string): Error {
  const hint = 'make it EROFS first: see encode for a layer, convert for an image';
  return failure('USAGE', name, 'it is a tar layer', hint);
}

async function openBlobFile(file: BlobFile, options: MountSourceOptions): Promise<SourceLayer> {
  const { descriptor } = options;
  const devices = await realPaths(options.devices);
  const blob = await openSeekable(file, options);
  const { tree } = blob;
  // Where nobody says what it decodes to, a first pass finds that out.
  const diffId = descriptor?.diffId ?? (await decodeTo(file, blob, null, options)).diffId;
  return {
    name: file.name,
    diffId,
    tree: tree === null ? 'absent' : tree.vouched ? 'vouched' : 'unvouched',
    rootDigest: tree?.vouched === true ? tree.rootDigest : null,
    files: await fileIdentities(devices),
    prepare: async (state, key, mode) => {
      const withTree = mode === 'kernel';
      const image = await blobContent(state, key, { file, blob, diffId, withTree }, options);
      return { files: [image, ...devices], verity: withTree ? materialisedTree(tree!) : null };
    },
  };
}

async function openReference(text: string, options: MountSourceOptions): Promise<SourceImage> {
  const { devices = [], platform } = options;
  if (devices.length > 0)
    throw failure('USAGE', text, 'external devices are of a single layer', 'leave out --device');
  const { store, reference } = await openSource(text, options);
  try {
    const platforms = platform === undefined ? undefined : [platform];
    const { images } = await openImages(store, reference, { platforms, feature: 'erofs' });
    const layers = layersOf(images[0]!).map((layer) => storedLayer(store, layer, options));
    if (layers.length === 0) throw failure('UNSUPPORTED', text, 'the image has no layers');
    return { layers, close: () => store.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A layer of an image: not fetched when another mount has it. */
function storedLayer(store: SourceStore, layer: ImageLayer, options: MountSourceOptions): SourceLayer {
  const { diffId } = layer;
  const descriptor = { ...layer.descriptor, diffId };
  const { digest, mediaType } = descriptor;
  if (isTarLayer(mediaType)) {
    const hint = 'make it EROFS first: see convert';
    throw failure('USAGE', digest, `it is a tar layer (${mediaType})`, hint);
  }
  const verity = readSeekableAnnotations(descriptor.annotations)?.verity ?? null;
  return {
    name: digest,
    diffId,
    tree: verity === null ? 'absent' : 'vouched',
    rootDigest: verity?.rootDigest ?? null,
    files: [],
    prepare: async (state, key, mode) => {
      if (mode !== 'kernel' && (await hasContent(state, key)))
        return { files: [state.contentFile(key)], verity: null };
      const own = { ...options, descriptor, indexLayer: await readIndexOf(store, layer) };
      const file = await store.openFile(descriptor, options);
      try {
        return await storedContent(state, key, { file, diffId, withTree: mode === 'kernel' }, own);
      } finally {
        await file.close();
      }
    },
  };
}

async function storedContent(
  state: MountState,
  key: string,
  { file, diffId, withTree }: { file: BlobFile; diffId: string; withTree: boolean },
  options: ReadOptions,
): Promise<Omit<LayerContent, 'extra'>> {
  if (!(await isSeekable(file, options))) {
    return { files: [await rawContent(state, key, file, options)], verity: null };
  }
  const blob = await openSeekable(file, options);
  const image = await blobContent(state, key, { file, blob, diffId, withTree }, options);
  return { files: [image], verity: withTree ? materialisedTree(blob.tree!) : null };
}
