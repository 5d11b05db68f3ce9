import { isErofsLayer, isIndexType, isManifestType } from '../../format/media-types';
import { isIndexLayer } from '../../image/composition';
import { layersOf } from '../../image/image-layers';
import { readEntry, type Image } from '../../image/image-set';
import { isSeekableLayer } from '../../layer/seekable';
import { erofsFeature } from '../../oci/config';
import { pairsOf, type ImagePair } from '../../oci/erofs-platform';
import { parseIndex, readManifest } from '../../oci/manifest';
import { choosePlatform, hostPlatform, platformMatches } from '../../oci/platform';
import type { SourceStore } from '../../oci/store';
import type { Descriptor, Manifest } from '../../oci/types';
import { ownLayers, tarLayers } from '../erofs-cache/cache-image';
import { isWrong } from '../error-kinds';
import type { CachedImages } from '../erofs-cache/cached-images';
import type { CachedLayer } from '../erofs-cache/image-list';
import type { LazyAccess } from '../messages';
import { Bounded } from './bounded';
import { RecentFailures } from './recent-failures';

/** Names and manifests that are remembered; an answer with thousands of them must not push out all others' at once. */
const maxRemembered = 10_000;
const maxPairs = 16;

type Store = Pick<SourceStore, 'readJson'>;

/** An image that is not what its manifest says: nobody is to have it. */
export class WrongImage extends Error {
  /** Null for failures of another kind, after which the image may be had another way, or later. */
  static of(error: unknown): WrongImage | null {
    return isWrong(error) ? new WrongImage((error as Error).message, { cause: error }) : null;
  }
}

/** A manifest that goes through the mirror. */
interface SeenManifest {
  /** `host/repository`. */
  place: string;
  /** The tag by which it was asked for; null when it was by its digest. */
  tag: string | null;
  descriptor: Descriptor;
  bytes: Buffer;
}

/** An index as it is looked at, with the tag that led to it. */
interface NamedIndex {
  place: string;
  /** What its images are called in the cache. */
  reference: string;
  digest: string;
}

/**
 * What the mirror makes of the manifests that go through it: images of ours come into the cache before the client has their manifest. Of an
 * index that a tag names, an image of tars is shown as the EROFS image beside it, before the client has the index; no other index, and no index
 * by its digest alone, is believed that (docs/containerd.md).
 */
export class SeenManifests {
  /** What tags named when somebody asked: `place@digest`, and the reference. */
  private readonly tagged = new Bounded<string>(maxRemembered);
  /** Manifests, `place@digest`, whose images came into the cache with an index, and that one's digest. */
  private readonly covered = new Bounded<string>(maxRemembered);
  /** `place@digest` of manifests, and of indexes that a tag named, in which nothing is for the cache. */
  private readonly others = new Bounded<true>(maxRemembered);
  /** Of manifests, `place@digest`: a pull asks for each more than once. */
  private readonly failures = new RecentFailures();
  private readonly adding = new Map<string, Promise<void>>();

  constructor(
    private readonly images: Pick<CachedImages, 'put' | 'isShown'>,
    private readonly access: LazyAccess,
    private readonly onWarning: (line: string) => void,
  ) {}

  /** A registry says what a tag names. */
  onTag(place: string, tag: string, digest: string): void {
    this.tagged.set(`${place}@${digest}`, `docker://${place}:${tag}`);
  }

  /** Whether all that is to be made of what a tag or a digest names has been made of it. */
  async isSettled(place: string, digest: string): Promise<boolean> {
    const key = `${place}@${digest}`;
    return this.others.get(key) === true || this.isShown(key, digest);
  }

  /**
   * Resolves when the layers of an image of ours are in the cache, or it is none, or they can't be had now: the client pulls those, and checks
   * them, as from the upstream itself.
   * @throws WrongImage
   */
  async onManifest(seen: SeenManifest, store: Store): Promise<void> {
    const { place, tag, descriptor } = seen;
    if (tag !== null) this.onTag(place, tag, descriptor.digest);
    const isIndex = isIndexType(descriptor.mediaType);
    if (!isIndex && !isManifestType(descriptor.mediaType)) return;
    const key = `${place}@${descriptor.digest}`;
    const reference = this.tagged.get(key);
    const add = async (): Promise<void> => {
      if (await this.isSettled(place, descriptor.digest)) return;
      const isAdded = isIndex ? await this.addIndex(seen, store) : await this.addManifest(seen, store);
      // An index by its digest alone may be named by a tag later.
      if (!isAdded && (!isIndex || reference !== undefined)) this.others.set(key, true);
    };
    // Clients ask at the same time: for several pods, or one after its time-out.
    const name = `${key} ${reference ?? ''}`;
    const adding =
      this.adding.get(name) ?? this.unlessFailed(key, add).finally(() => this.adding.delete(name));
    this.adding.set(name, adding);
    await adding;
  }

  /** What failed is not tried again at once. */
  private async unlessFailed(key: string, add: () => Promise<void>): Promise<void> {
    const failed = this.failures.get(key);
    if (failed instanceof WrongImage) throw failed;
    if (failed !== undefined) return;
    try {
      await add();
    } catch (error) {
      const wrong = WrongImage.of(error);
      this.failures.set(key, wrong ?? (error as Error));
      const outcome = wrong === null ? 'not in the cache' : 'refused';
      this.onWarning(`${key}: ${outcome}: ${(error as Error).message}`);
      if (wrong !== null) throw wrong;
    }
  }

  private isShown(key: string, digest: string): Promise<boolean> {
    const index = this.covered.get(key);
    return this.images.isShown(index ?? digest, this.tagged.get(key));
  }

  /** Whether something of the index came into the cache. */
  private async addIndex({ place, descriptor, bytes }: SeenManifest, store: Store): Promise<boolean> {
    const { digest } = descriptor;
    const reference = this.tagged.get(`${place}@${digest}`);
    const host = hostPlatform();
    const { manifests } = parseIndex(bytes, digest);
    const fitting = manifests.filter(
      ({ platform, mediaType }) =>
        platform !== undefined && isManifestType(mediaType) && platformMatches(platform, host),
    );
    const pairs = pairsOf(fitting).slice(0, maxPairs);
    if (pairs.length === 0) {
      if (fitting.length === 0) return false;
      const index = { place, reference: reference ?? `docker://${place}@${digest}`, digest };
      return this.addOwn(choosePlatform(fitting, host, digest, erofsFeature), index, store);
    }
    if (reference === undefined) return false;
    for (const entry of fitting.slice(0, maxPairs)) this.tagged.set(`${place}@${entry.digest}`, reference);
    let isAdded = false;
    for (const pair of pairs) {
      try {
        isAdded = (await this.addPair(pair, { place, reference, digest }, store)) || isAdded;
      } catch (error) {
        this.failures.set(`${place}@${pair.erofs.digest}`, WrongImage.of(error) ?? (error as Error));
        // Of the index nothing is wrong: who wants the tars may have it.
        throw new Error((error as Error).message, { cause: error });
      }
    }
    return isAdded;
  }

  private async addPair({ tar, erofs }: ImagePair, index: NamedIndex, store: Store): Promise<boolean> {
    const [tars, converted] = await Promise.all([readEntry(store, tar), readOurs(store, erofs)]);
    if (converted === null) return false;
    const origin = this.originOf(index.place, erofs.digest);
    const layers = tarLayers(layersOf(tars), layersOf(converted), origin) ?? [];
    await this.putOf(index, erofs, [...ownLayers(converted, origin), ...layers]);
    return true;
  }

  /** Clients that have the manifest from before ask for the index alone. */
  private async addOwn(entry: Descriptor, index: NamedIndex, store: Store): Promise<boolean> {
    const image = await readOurs(store, entry);
    if (image === null) return false;
    await this.putOf(index, entry, ownLayers(image, this.originOf(index.place, entry.digest)));
    return true;
  }

  private async putOf(
    { place, reference, digest }: NamedIndex,
    entry: Descriptor,
    layers: CachedLayer[],
  ): Promise<void> {
    await this.images.put({ reference, digest, layers });
    this.covered.set(`${place}@${entry.digest}`, digest);
    this.tagged.set(`${place}@${entry.digest}`, reference);
  }

  private async addManifest({ place, descriptor }: SeenManifest, store: Store): Promise<boolean> {
    const { digest } = descriptor;
    const key = `${place}@${digest}`;
    const image = await readOurs(store, descriptor);
    if (image === null) return false;
    const layers = ownLayers(image, this.originOf(place, digest));
    await this.images.put({ reference: this.tagged.get(key) ?? `docker://${key}`, digest, layers });
    return true;
  }

  private originOf(place: string, digest: string) {
    const source = `docker://${place}@${digest}`;
    return { source, mirrors: [], access: this.access, allowUnverified: false };
  }
}

/** The image of a manifest, null when it is none whose layers can all be read lazily. */
async function readOurs(store: Store, descriptor: Descriptor): Promise<Image | null> {
  const document = await readManifest(store, descriptor);
  if (document.kind !== 'manifest' || !isOurs(document.manifest)) return null;
  return readEntry(store, descriptor);
}

/** Whether all layers of an image can be read lazily; what a chunk index is for is looked at when its layers are. */
function isOurs({ layers }: Manifest): boolean {
  const isSeekable = (layer: Descriptor, i: number): boolean =>
    isIndexLayer(layer) ||
    (isErofsLayer(layer.mediaType) &&
      (isSeekableLayer(layer) || (i + 1 < layers.length && isIndexLayer(layers[i + 1]!))));
  return layers.length > 0 && layers.every(isSeekable);
}
