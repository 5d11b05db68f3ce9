import { failure } from '../errors';
import { sourceDiffIdAnnotation } from '../format/annotations';
import { isDigest } from '../format/digest';
import { isErofsLayer, isManifestType, isTarLayer } from '../format/media-types';
import { roleOf } from '../image/composition';
import { checkVisiblyFitting } from '../image/fitting-layers';
import { layersOf, type ImageLayer } from '../image/image-layers';
import { openImageSet, type Image } from '../image/image-set';
import { keepingDocuments } from '../mount/kept-documents';
import { flattenIndex, readManifest } from '../oci/manifest';
import { platformMatches } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { Descriptor, Platform } from '../oci/types';
import { openSource } from '../store/open';
import type { StoreOptions } from '../store/registry/options';
import { withOwnCopies } from './own-copies';

/** Where a layer is found that does not have to be unpacked. */
export interface LayerOrigin {
  /** The image, as `docker://HOST/REPOSITORY@DIGEST`. */
  image: string;
  /** Digest of the layer's descriptor; null of a layer without files of its own: a chunk index, or a device, which is mounted with what uses it. */
  layer: string | null;
  diffId: string;
  /** Of a layer that is asked for the data of files only. */
  role?: 'data' | undefined;
}

/** What containerd says of a layer that it wants. */
export interface WantedLayer {
  /** As it was pulled, without a transport. */
  reference: string;
  manifest: string;
  diffId: string;
}

/** An image that is being pulled. */
export interface PulledImage {
  /** By the DiffID under which containerd asks for them, the lowest first; null of one that has to be unpacked. */
  layers: { diffId: string; origin: LayerOrigin | null }[];
}

/** A pull asks for one layer after the other; this long an image's documents are taken for known, in milliseconds. */
const memory = 120_000;
const maxKnown = 64;

/**
 * The images that containerd pulls. It says which, and this reads their manifests: containerd's copies, or those of the registry, with the
 * server's own credentials. What a label claims counts for nothing unless the manifest with the digest that was pulled says so as well.
 */
export class PulledImages {
  private readonly known = new Map<string, { image: Promise<PulledImage>; until: number }>();

  constructor(
    private readonly options: StoreOptions & {
      /** Folder of containerd's content store, where manifests and configs of what it pulls are before their layers. */
      content: string;
      /** Folder where they are kept for the mounts of their layers. */
      documents: string;
    },
  ) {}

  /**
   * The image that a layer belongs to. Images of tars have layers without an origin, but for those that have an EROFS form in the same index under
   * the same name.
   * @throws MISMATCH when the layer is not in it, or has another DiffID, and what reading it throws
   */
  async find(wanted: WantedLayer): Promise<PulledImage> {
    const image = await this.remembered(wanted);
    const layer = image.layers.find(({ diffId }) => diffId === wanted.diffId);
    if (layer !== undefined) return image;
    throw failure('MISMATCH', wanted.reference, `its manifest has no layer with the DiffID ${wanted.diffId}`);
  }

  private remembered(wanted: WantedLayer): Promise<PulledImage> {
    const key = JSON.stringify([wanted.reference, wanted.manifest]);
    const now = performance.now();
    for (const [old, { until }] of this.known)
      if (until < now || this.known.size > maxKnown) this.known.delete(old);
    const known = this.known.get(key);
    if (known !== undefined) return known.image;
    const image = this.open(wanted);
    image.catch(() => this.known.delete(key)); // whoever waits for it is told
    this.known.set(key, { image, until: now + memory });
    return image;
  }

  private async open({ reference, manifest }: WantedLayer): Promise<PulledImage> {
    const parsed = parseReference(`docker://${reference}`);
    if (parsed.transport !== 'docker' || !isDigest(manifest))
      throw failure('USAGE', reference, 'it names no image');
    const name = `docker://${parsed.host}/${parsed.repository}@${manifest}`;
    const { content, documents } = this.options;
    const { store: registry } = await openSource(name, this.options);
    const store = keepingDocuments(withOwnCopies(registry, content), documents);
    try {
      const { images } = await openImageSet(store, manifest, {});
      const isErofs = images[0]!.manifest.layers.some(({ mediaType }) => isErofsLayer(mediaType));
      if (isErofs) return { layers: await this.openOwn(store, name, images[0]!) };
      return await this.openTars(registry, images[0]!, { name, tag: parsed.digest ?? parsed.tag });
    } finally {
      await store.close();
    }
  }

  /** Layers of EROFS. What is wrong with an image as a whole can't be told by its layers, which are mounted one by one. */
  private async openOwn(store: SourceStore, name: string, image: Image): Promise<PulledImage['layers']> {
    const layers = layersOf(image);
    if (layers.some(({ descriptor }) => roleOf(descriptor) !== 'lower'))
      await checkVisiblyFitting(store, image, this.options);
    return ownLayers(name, layers);
  }

  /** Layers of tars. Those are unpacked whose EROFS form is not found, for whatever reason. */
  private async openTars(
    store: SourceStore,
    tars: Image,
    { name, tag }: { name: string; tag: string | undefined },
  ): Promise<PulledImage> {
    const manifest = tars.descriptor.digest;
    const forms = await erofsForms(store, manifest, tag).catch((error: unknown) => {
      this.options.onWarning?.(
        `${name}: whether it has an EROFS form is not known: ${(error as Error).message}`,
      );
      return null;
    });
    return {
      layers: layersOf(tars).map(({ diffId }) => {
        const form = forms?.layers.find(
          ({ descriptor }) => descriptor.annotations?.[sourceDiffIdAnnotation] === diffId,
        );
        if (form === undefined) return { diffId, origin: null };
        const image = name.replace(/@.*$/, `@${forms!.digest}`);
        return { diffId, origin: { image, layer: form.descriptor.digest, diffId: form.diffId } };
      }),
    };
  }
}

function ownLayers(image: string, layers: readonly ImageLayer[]): PulledImage['layers'] {
  return layers.flatMap((layer) => {
    const { diffId, index } = layer;
    const own = { diffId, origin: originOf(image, layer) };
    return index === null
      ? [own]
      : [own, { diffId: index.diffId, origin: { image, layer: null, diffId: index.diffId } }];
  });
}

function originOf(image: string, { descriptor, diffId }: ImageLayer): LayerOrigin | null {
  const role = roleOf(descriptor);
  if (role === 'device') return { image, layer: null, diffId };
  if (isTarLayer(descriptor.mediaType)) return null;
  return { image, layer: descriptor.digest, diffId, ...(role === 'data' && { role }) };
}

/** The EROFS image beside an image of tars in the index that a tag leads to; null when there is none. */
async function erofsForms(
  store: SourceStore,
  manifest: string,
  tag: string | undefined,
): Promise<{ digest: string; layers: ImageLayer[] } | null> {
  const root = await store.resolve(tag);
  if (root.digest === manifest || isManifestType(root.mediaType)) return null;
  const document = await readManifest(store, root);
  if (document.kind !== 'index') return null;
  const entries = await flattenIndex(store, document.index, root.digest);
  const own = entries.find(({ digest }) => digest === manifest);
  const form = own && entries.find((entry) => isErofsFormOf(entry, own.platform));
  if (form === undefined) return null;
  const { images } = await openImageSet(store, form.digest, {});
  return { digest: form.digest, layers: layersOf(images[0]!) };
}

function isErofsFormOf({ platform }: Descriptor, wanted: Platform | undefined): boolean {
  if (platform?.['os.features']?.includes('erofs') !== true) return false;
  return wanted === undefined || platformMatches(platform, wanted);
}
