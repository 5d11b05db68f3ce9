import { readSeekableAnnotations } from '../format/annotations';
import { isTarLayer } from '../format/media-types';
import { failure } from '../errors';
import { checkFileName } from '../fs/file-name';
import { compose, roleOf, type LayerRole } from '../image/composition';
import { layersOf, readIndexOf, type ComposedLayer, type ImageLayer } from '../image/image-layers';
import { openImageSet } from '../image/image-set';
import type { ReadOptions } from '../layer/decode';
import { layerKind } from '../layer/layer-kind';
import { openLocation } from '../layer/location';
import { materialisedTree } from '../layer/materialise';
import { spool } from '../layer/spool';
import { openWholeDevice, openWholeLayer, type WholeLayer } from '../layer/whole-layer';
import { plainVerity } from '../lazy/plain-verity';
import { parseReference } from '../oci/reference';
import { publicName } from '../public-name';
import type { BlobFile, SourceStore } from '../oci/store';
import { openSource } from '../store/open';
import { Asker } from './ask-registry';
import { layerContent } from './content-cache';
import { keepingDocuments } from './kept-documents';
import { gatherFromOthers } from './gathered-layer';
import { isLazy, lazySource, openLazySingle } from './lazy-source';
import type { LazySource } from './lazy-layers';
import type { VerityMode } from './plan';
import { fileIdentities, openRawFile, realPaths } from './raw-file';
import type {
  LayerChoice,
  MountSource,
  MountSourceOptions,
  PreparedLayer,
  SourceLayer,
} from './source-layer';
import type { MountState } from './state';
import { cachedLayer, voucherOf, vouchersOf } from './vouchers';

/** Opens what a reference, path or URL names. USAGE for tar layers, with a hint at how to convert them. */
export async function openMountSource(
  refOrPath: string,
  options: MountSourceOptions & LayerChoice,
  state: MountState,
): Promise<MountSource> {
  const { transport } = parseReference(refOrPath);
  const isSingle = transport === 'file' || transport === 'http';
  return isSingle ? openSingle(refOrPath, options) : openReference(refOrPath, options, state);
}

async function openSingle(path: string, options: MountSourceOptions): Promise<MountSource> {
  checkFileName(path); // the kernel mounts files
  const single = isLazy(options) ? await openLazySingle(path, options) : null;
  if (single !== null) return single;
  const file = await spool(await openLocation(path, options), options);
  try {
    if ((await layerKind(file, options)) === 'raw' && readSpecVerity(options) === null) {
      const layer = await openRawFile(file, path, options);
      return { name: file.name, image: null, layers: [layer], config: null, close: () => file.close() };
    }
    const layer = await openWholeLayer(file, options);
    const close = async (): Promise<void> => {
      layer.close();
      await file.close();
    };
    const layers = [await openLayerFile(file, layer, options)];
    return { name: file.name, image: null, layers, config: null, close };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What a descriptor says of a tree that lies behind the image. */
function readSpecVerity({ descriptor }: ReadOptions) {
  return readSeekableAnnotations(descriptor?.annotations)?.verity ?? null;
}

async function openLayerFile(
  file: BlobFile,
  layer: WholeLayer,
  options: MountSourceOptions,
): Promise<SourceLayer> {
  const { descriptor } = options;
  const devices = await realPaths(options.devices);
  const { tree, lacksSuperblock } = layer.blob;
  // Where nobody says what it decodes to, a first pass finds that out.
  const diffId = descriptor?.diffId ?? (await layer.decode(null, options)).diffId;
  const isVouched = tree?.vouched ?? lacksSuperblock;
  return {
    name: file.name,
    role: 'lower',
    devices: [],
    diffId,
    tree: isVouched ? 'vouched' : tree === null ? 'absent' : 'unvouched',
    rootDigest: isVouched ? readSpecVerity(options)!.rootDigest : null,
    files: await fileIdentities(devices),
    lazy: null,
    cached: () => Promise.resolve(null),
    prepare: async (state, key, mode) => {
      const content = await prepareLayer(state, key, { file, layer, diffId, mode }, options);
      return { ...content, files: [...content.files, ...devices] };
    },
  };
}

async function openReference(
  text: string,
  options: MountSourceOptions & LayerChoice,
  state: MountState,
): Promise<MountSource> {
  const { devices = [], platform, onlyLayer } = options;
  if (devices.length > 0)
    throw failure('USAGE', text, 'external devices are of a single layer', 'leave out --device');
  const { store: opened, reference } = await openSource(text, options);
  const isKept = options.lazy === true && parseReference(text).transport === 'docker';
  const store = isKept ? keepingDocuments(opened, state.documentsFolder) : opened;
  try {
    const asker = new Asker((descriptor) => store.openBlob(descriptor), options.onWarning);
    const platforms = platform === undefined ? undefined : [platform];
    const { images } = await openImageSet(store, reference, { platforms, feature: 'erofs' });
    const { descriptor, platform: imagePlatform, config } = images[0]!;
    const parts = layersOf(images[0]!);
    if (parts.length === 0) throw failure('UNSUPPORTED', text, 'the image has no layers');
    const identity = { manifest: descriptor.digest, diffIds: parts.map(({ diffId }) => diffId) };
    const from = { text, store, asker, image: identity };
    const layers = composedLayers(from, parts, onlyLayer, options);
    const image = { reference: `${publicName(text)}@${descriptor.digest}`, platform: imagePlatform };
    return { name: text, image, layers, config, close: () => store.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** An image that layers are read from. */
interface OpenImage extends Pick<LazySource, 'image'> {
  text: string;
  store: SourceStore;
  asker: Asker;
}

/** The layers of an image as they are mounted; with `onlyLayer` that one, as a lower one. */
function composedLayers(
  from: OpenImage,
  parts: readonly ImageLayer[],
  onlyLayer: string | undefined,
  options: MountSourceOptions,
): SourceLayer[] {
  const { lowers, data } = compose(parts);
  const isChosen = ({ descriptor }: ComposedLayer): boolean =>
    descriptor.digest === (onlyLayer ?? descriptor.digest);
  const mounted = (layer: ComposedLayer, role: LayerRole): SourceLayer[] => {
    const devices = layer.devices.map((device) => storedLayer(from, device, 'device', [], options));
    return [...devices, storedLayer(from, layer, onlyLayer === undefined ? role : 'lower', devices, options)];
  };
  return [
    ...lowers.filter(isChosen).flatMap((layer) => mounted(layer, 'lower')),
    ...data.filter(isChosen).flatMap((layer) => mounted(layer, 'data')),
  ];
}

/** A layer of an image. */
function storedLayer(
  from: OpenImage,
  layer: ImageLayer,
  role: LayerRole,
  devices: readonly SourceLayer[],
  options: MountSourceOptions,
): SourceLayer {
  const { diffId } = layer;
  const descriptor = { ...layer.descriptor, diffId };
  const { digest, mediaType } = descriptor;
  if (role !== 'device' && isTarLayer(mediaType)) {
    const hint = 'make it EROFS first: see convert';
    throw failure('USAGE', digest, `it is a tar layer (${mediaType})`, hint);
  }
  const verity = role === 'device' ? null : (readSeekableAnnotations(descriptor.annotations)?.verity ?? null);
  return {
    name: digest,
    role,
    devices,
    diffId,
    tree: verity === null ? 'absent' : 'vouched',
    rootDigest: verity?.rootDigest ?? null,
    files: [],
    lazy: isLazy(options) ? lazySource(from, layer, () => from.asker.ask(descriptor), options) : null,
    cached: (state, key, mode) => cachedLayer(state, key, vouchersOf(layer, mode, options), mode),
    prepare: (state, key, mode) => fetchLayer(from, layer, { state, key, mode }, options),
  };
}

/** Fetches a layer, unless another mount did and it was checked against this descriptor. */
async function fetchLayer(
  from: OpenImage,
  layer: ImageLayer,
  { state, key, mode }: { state: MountState; key: string; mode: VerityMode },
  options: MountSourceOptions,
): Promise<PreparedLayer> {
  const { diffId } = layer;
  const voucher = voucherOf(layer, mode, options);
  const known = await cachedLayer(state, key, [voucher], mode);
  if (known !== null) return known;
  const isGathered = await gatherFromOthers(from, layer, { state, key, mode }, options);
  const gathered = isGathered ? await cachedLayer(state, key, [voucher], mode) : null;
  if (gathered !== null) return gathered;
  const { store } = from;
  const descriptor = { ...layer.descriptor, diffId };
  const own = { ...options, descriptor, indexLayer: await readIndexOf(store, layer) };
  const file = await store.openFile(descriptor, options);
  try {
    const isDevice = roleOf(descriptor) === 'device';
    const opened = isDevice ? await openWholeDevice(file, own) : await openWholeLayer(file, own);
    try {
      const content = await prepareLayer(state, key, { file, layer: opened, diffId, mode, isDevice }, own);
      const { unvouchedTree = false, verity } = content;
      await state.writeVouched(key, voucher, { unvouchedTree, verity: verity && plainVerity(verity) });
      return content;
    } finally {
      opened.close();
    }
  } finally {
    await file.close();
  }
}

interface LayerToPrepare {
  file: BlobFile;
  layer: WholeLayer;
  diffId: string;
  mode: VerityMode;
  isDevice?: boolean;
}

async function prepareLayer(
  state: MountState,
  key: string,
  { file, layer, diffId, mode, isDevice = false }: LayerToPrepare,
  options: ReadOptions,
): Promise<PreparedLayer> {
  const { tree, lacksSuperblock } = layer.blob;
  if (mode !== 'none' && lacksSuperblock) {
    const why = 'where its dm-verity tree should begin there is no superblock, so nothing tells its salt';
    throw failure('CORRUPT', file.name, why, 'convert it anew, or --verity off');
  }
  const withTree = mode === 'kernel';
  const image = await layerContent(state, key, { file, layer, diffId, withTree, isDevice }, options);
  const verity = withTree ? materialisedTree(tree!) : null;
  return { files: [image], verity, unvouchedTree: tree?.vouched === false };
}
