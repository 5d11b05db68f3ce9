import { failure } from '../../errors';
import { readSeekableAnnotations, sourceDiffIdOf } from '../../format/annotations';
import { isTarLayer } from '../../format/media-types';
import { refuseOtherRoles } from '../../image/composition';
import { layersOf, type ImageLayer } from '../../image/image-layers';
import { openImageSet, readEntry, type Image } from '../../image/image-set';
import { pairsOf } from '../../oci/erofs-platform';
import type { SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';
import { openSource } from '../../store/open';
import { mountKey } from '../layer-key';
import type { AddImageRequest } from '../messages';
import type { CachedImage, CachedLayer } from './image-list';

/** What of a request is the same for all layers. */
type Origin = Pick<AddImageRequest, 'mirrors' | 'access' | 'allowUnverified'> & { source: string };

/** Attempts of a request for a manifest: somebody waits. */
const retry = { attempts: 3, firstPause: 100, maxPause: 1000 } as const;

/**
 * Reads which layers of an image a cache is to show, and under which names: an EROFS image's under its DiffIDs; those of an image that stands
 * beside its tars in an index also under the tars'; with `layersFrom` that image's, under the DiffIDs of the tars of `reference`.
 * @throws USAGE for an image of tars without any of these; MISMATCH when `layersFrom` was not made of it
 */
export async function readCacheImage(asked: AddImageRequest): Promise<Omit<CachedImage, 'lastUse'>> {
  const { reference, layersFrom, platform } = asked;
  return withStore(asked, reference, async (store, name) => {
    const platforms = platform === undefined ? undefined : [platform];
    const feature = layersFrom === undefined ? 'erofs' : undefined;
    const { images, others, descriptor } = await openImageSet(store, name, { platforms, feature });
    const image = images[0]!;
    if (layersFrom !== undefined) {
      return { reference, digest: descriptor.digest, layers: await layersInPlace(asked, image, layersFrom) };
    }
    const origin = { ...asked, source: reference };
    const layers = ownLayers(image, origin);
    const pair = pairsOf([image.descriptor, ...others]).find(({ erofs }) => erofs === image.descriptor);
    if (pair !== undefined) {
      const tars = layersOf(await readEntry(store, pair.tar));
      layers.push(...(tarLayers(tars, layersOf(image), origin) ?? []));
    }
    return { reference, digest: descriptor.digest, layers };
  });
}

/** The layers of the EROFS image `layersFrom`, under the names of the tars of `image`: the user says that they are the same. */
async function layersInPlace(
  asked: AddImageRequest,
  image: Image,
  layersFrom: string,
): Promise<CachedLayer[]> {
  const tars = layersOf(image);
  return withStore(asked, layersFrom, async (store, name) => {
    const { images } = await openImageSet(store, name, { platforms: [image.platform], feature: 'erofs' });
    const converted = layersOf(images[0]!);
    const origin = { ...asked, source: layersFrom };
    for (const layer of converted) checkErofs(layer);
    const layers = tarLayers(tars, converted, origin) ?? layersByPlace(tars, converted, origin);
    if (layers !== null) return layers;
    const why = `its layers were not made of those of ${asked.reference}`;
    throw failure('MISMATCH', layersFrom, why, 'convert that image once more');
  });
}

async function withStore<T>(
  { access }: AddImageRequest,
  text: string,
  use: (store: SourceStore, reference: string | undefined) => Promise<T>,
): Promise<T> {
  const { store, reference } = await openSource(text, { ...access, retry });
  try {
    return await use(store, reference);
  } finally {
    await store.close();
  }
}

/**
 * An EROFS image's layers under its own DiffIDs. A chunk index that is a layer of its own has no files: its name leads to the layer before it, which
 * it vouches for, and which changes nothing upon itself.
 * @throws UNSUPPORTED when the config has other DiffIDs than the layers: nothing here would ever compare those
 */
export function ownLayers(image: Pick<Image, 'manifest' | 'config'>, origin: Origin): CachedLayer[] {
  const { manifest, config } = image;
  return layersOf(image).flatMap((layer) => {
    const { descriptor, diffId, index } = layer;
    checkErofs(layer);
    checkName(descriptor, config.rootfs?.diff_ids?.[manifest.layers.indexOf(descriptor)], diffId);
    if (index === null) return [cachedLayer(diffId, layer, origin)];
    checkName(index.descriptor, index.diffId, index.descriptor.digest);
    return [cachedLayer(diffId, layer, origin), cachedLayer(index.diffId, layer, origin)];
  });
}

function checkName({ digest }: Descriptor, said: string | undefined, diffId: string): void {
  if (said === undefined || said === diffId) return;
  throw failure('UNSUPPORTED', digest, `the image's config says that its DiffID is ${said}, it is ${diffId}`);
}

/** EROFS layers under the DiffIDs of the tars that their descriptors say they were made of; null unless each tar has one. */
export function tarLayers(
  tars: readonly ImageLayer[],
  converted: readonly ImageLayer[],
  origin: Origin,
): CachedLayer[] | null {
  const layers = tars.map(({ diffId }, i) => {
    const isOf = ({ descriptor }: ImageLayer): boolean => sourceDiffIdOf(descriptor) === diffId;
    // Two tars may be the same; the lowest layer of profile "erofs-image-spec" has no whiteouts, so places count.
    const layer = converted.slice(i).find(isOf) ?? converted.find(isOf);
    return layer === undefined ? null : cachedLayer(diffId, layer, origin);
  });
  return layers.every((layer) => layer !== null) ? layers : null;
}

/** For images from before descriptors said what they were made of. Null where one says that it is of another. */
function layersByPlace(
  tars: readonly ImageLayer[],
  converted: readonly ImageLayer[],
  origin: Origin,
): CachedLayer[] | null {
  const saysOther = converted.some(({ descriptor }) => sourceDiffIdOf(descriptor) !== null);
  if (saysOther || tars.length !== converted.length) return null;
  return tars.map(({ diffId }, i) => cachedLayer(diffId, converted[i]!, origin));
}

function cachedLayer(name: string, { descriptor, diffId, index }: ImageLayer, origin: Origin): CachedLayer {
  const { source, mirrors, access, allowUnverified } = origin;
  const rootDigest = readSeekableAnnotations(descriptor.annotations)?.verity?.rootDigest ?? null;
  // The same key as a mount's that the kernel checks, so that both share what is fetched.
  const key = mountKey({ diffId, rootDigest, extra: [], files: [] });
  const layer = { key, diffId, descriptor, index: index?.descriptor ?? null, withTree: rootDigest !== null };
  return { name, request: { ...layer, source, mirrors, access, allowUnverified } };
}

function checkErofs({ descriptor }: ImageLayer): void {
  refuseOtherRoles(descriptor);
  const { digest, mediaType } = descriptor;
  if (!isTarLayer(mediaType)) return;
  const hint =
    'lazy add REF --layers-from CONVERTED, if it was converted elsewhere; convert --append-to-index keeps both under one name';
  throw failure('USAGE', digest, `it is a tar layer (${mediaType})`, hint);
}
