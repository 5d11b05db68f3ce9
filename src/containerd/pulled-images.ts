import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failure } from '../errors';
import { sourceDiffIdAnnotation } from '../format/annotations';
import { digestOf, isDigest, parseDigest } from '../format/digest';
import { isErofsLayer, isManifestType, isTarLayer } from '../format/media-types';
import { layersOf, type ImageLayer } from '../image/image-layers';
import { openImageSet, type Image } from '../image/image-set';
import { flattenIndex, parseManifest, readManifest } from '../oci/manifest';
import { platformMatches } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { Descriptor, Platform } from '../oci/types';
import { openSource } from '../store/open';
import type { StoreOptions } from '../store/registry/options';

/** Where a layer is found that does not have to be unpacked. */
export interface LayerOrigin {
  /** The image, as `docker://HOST/REPOSITORY@DIGEST`. */
  image: string;
  /** Digest of the layer's descriptor; null of a layer without files: a chunk index. */
  layer: string | null;
  diffId: string;
}

/** What containerd says of a layer that it wants. */
export interface WantedLayer {
  /** As it was pulled, without a transport. */
  reference: string;
  manifest: string;
  layer: string;
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
 * The images that containerd pulls. It says which, and this reads their manifests again, with the server's own credentials: what a label claims
 * counts for nothing unless the manifest says so as well.
 */
export class PulledImages {
  private readonly known = new Map<string, { image: Promise<PulledImage>; until: number }>();

  constructor(
    private readonly options: StoreOptions & {
      /** containerd's content store, where manifests of what it pulls are before their layers. */
      content: string;
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
    throw failure(
      'MISMATCH',
      wanted.reference,
      `layer ${wanted.layer} has no DiffID ${wanted.diffId} in its manifest`,
    );
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
    const hasErofs = await this.hasErofs(manifest);
    const { store } = await openSource(name, this.options);
    try {
      if (hasErofs !== false) {
        const { images } = await openImageSet(store, manifest, {});
        if (images[0]!.manifest.layers.some(({ mediaType }) => isErofsLayer(mediaType)))
          return { layers: ownLayers(name, images[0]!) };
      }
      return await this.openTars(store, manifest, { name, tag: parsed.digest ?? parsed.tag });
    } finally {
      await store.close();
    }
  }

  /** What containerd's own copy of a manifest says; null when there is none. */
  private async hasErofs(digest: string): Promise<boolean | null> {
    const { algorithm, hex } = parseDigest(digest);
    const bytes = await readFile(join(this.options.content, 'blobs', algorithm, hex)).catch(() => null);
    if (bytes === null || digestOf(bytes, algorithm) !== digest) return null;
    return parseManifest(bytes, digest).layers.some(({ mediaType }) => isErofsLayer(mediaType));
  }

  /** Layers of tars. Those are unpacked whose EROFS form is not found, for whatever reason. */
  private async openTars(
    store: SourceStore,
    manifest: string,
    { name, tag }: { name: string; tag: string | undefined },
  ): Promise<PulledImage> {
    const { images } = await openImageSet(store, manifest, {});
    const tars = layersOf(images[0]!);
    const forms = await erofsForms(store, manifest, tag);
    return {
      layers: tars.map(({ diffId }) => {
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

function ownLayers(image: string, opened: Image): PulledImage['layers'] {
  return layersOf(opened).flatMap(({ descriptor, diffId, index }) => {
    const origin = isTarLayer(descriptor.mediaType) ? null : { image, layer: descriptor.digest, diffId };
    const own = { diffId, origin };
    return index === null
      ? [own]
      : [own, { diffId: index.diffId, origin: { image, layer: null, diffId: index.diffId } }];
  });
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
