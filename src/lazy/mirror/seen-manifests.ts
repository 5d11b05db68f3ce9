import { isErofsLayer, isIndexType, isManifestType, layerFormat } from '../../format/media-types';
import { layersOf } from '../../image/image-layers';
import { readEntry } from '../../image/image-set';
import { isSeekableLayer } from '../../layer/seekable';
import { pairsOf, type ImagePair } from '../../oci/erofs-platform';
import { parseIndex, parseManifest } from '../../oci/manifest';
import { hostPlatform, platformMatches } from '../../oci/platform';
import type { SourceStore } from '../../oci/store';
import type { Descriptor, Manifest } from '../../oci/types';
import { ownLayers, tarLayers } from '../erofs-cache/cache-image';
import type { CachedImages } from '../erofs-cache/cached-images';
import type { LazyAccess } from '../messages';

/** Names and manifests that are remembered; an answer with thousands of them must not push out all others' at once. */
const maxRemembered = 10_000;
const maxPairs = 16;

type Store = Pick<SourceStore, 'readJson'>;

/** A manifest that goes through the mirror. */
export interface SeenManifest {
  /** `host/repository`. */
  place: string;
  /** The tag by which it was asked for; null when it was by its digest. */
  tag: string | null;
  descriptor: Descriptor;
  bytes: Buffer;
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
  private readonly adding = new Map<string, Promise<void>>();

  constructor(
    private readonly images: Pick<CachedImages, 'put' | 'list'>,
    private readonly access: LazyAccess,
  ) {}

  /** A registry says what a tag names. */
  onTag(place: string, tag: string, digest: string): void {
    this.tagged.set(`${place}@${digest}`, `docker://${place}:${tag}`);
  }

  /** Resolves when the layers of an image of ours are in the cache, or it is none. @throws what is wrong with it */
  async onManifest(seen: SeenManifest, store: Store): Promise<void> {
    const { place, tag, descriptor } = seen;
    if (tag !== null) this.onTag(place, tag, descriptor.digest);
    const isIndex = isIndexType(descriptor.mediaType);
    if (!isIndex && !isManifestType(descriptor.mediaType)) return;
    const key = `${place}@${descriptor.digest}`;
    const add = isIndex ? this.addIndex(seen, store) : this.addManifest(seen, store);
    // Clients ask at the same time: for several pods, or one after its time-out.
    const adding = this.adding.get(key) ?? add().finally(() => this.adding.delete(key));
    this.adding.set(key, adding);
    await adding;
  }

  private addIndex({ place, descriptor, bytes }: SeenManifest, store: Store): () => Promise<void> {
    return async () => {
      const reference = this.tagged.get(`${place}@${descriptor.digest}`);
      if (reference === undefined) return;
      const host = hostPlatform();
      const { manifests } = parseIndex(bytes, descriptor.digest);
      const fitting = manifests.filter(
        ({ platform }) => platform !== undefined && platformMatches(platform, host),
      );
      for (const { digest } of fitting.slice(0, maxPairs)) this.tagged.set(`${place}@${digest}`, reference);
      for (const pair of pairsOf(fitting).slice(0, maxPairs)) {
        await this.addPair(pair, { place, reference, digest: descriptor.digest }, store);
      }
    };
  }

  private async addPair(
    { tar, erofs }: ImagePair,
    { place, reference, digest }: { place: string; reference: string; digest: string },
    store: Store,
  ): Promise<void> {
    const [tars, converted] = await Promise.all([readEntry(store, tar), readEntry(store, erofs)]);
    if (!isOurs(converted.manifest)) return;
    const origin = this.originOf(place, erofs.digest);
    const layers = tarLayers(layersOf(tars), layersOf(converted), origin) ?? [];
    await this.images.put({ reference, digest, layers: [...ownLayers(converted, origin), ...layers] });
    this.covered.set(`${place}@${erofs.digest}`, digest);
  }

  private addManifest({ place, descriptor, bytes }: SeenManifest, store: Store): () => Promise<void> {
    return async () => {
      const { digest } = descriptor;
      const key = `${place}@${digest}`;
      const index = this.covered.get(key);
      if (index !== undefined && (await this.images.list()).some((image) => image.digest === index)) return;
      if (!isOurs(parseManifest(bytes, digest))) return;
      const layers = ownLayers(await readEntry(store, descriptor), this.originOf(place, digest));
      await this.images.put({ reference: this.tagged.get(key) ?? `docker://${key}`, digest, layers });
    };
  }

  private originOf(place: string, digest: string) {
    const source = `docker://${place}@${digest}`;
    return { source, mirrors: [], access: this.access, allowUnverified: false };
  }
}

/** Whether all layers of an image can be read lazily; chunk indexes that are layers of their own are looked at with theirs. */
function isOurs({ layers }: Manifest): boolean {
  const isIndex = ({ mediaType }: Descriptor): boolean => layerFormat(mediaType)?.kind === 'chunk-index';
  return (
    layers.length > 0 &&
    layers.every((layer) => isErofsLayer(layer.mediaType) && isSeekableLayer(layer) && !isIndex(layer))
  );
}

/** Forgets what was set longest ago. */
class Bounded<T> {
  private readonly values = new Map<string, T>();

  constructor(private readonly limit: number) {}

  get(key: string): T | undefined {
    return this.values.get(key);
  }

  set(key: string, value: T): void {
    this.values.delete(key);
    this.values.set(key, value);
    if (this.values.size <= this.limit) return;
    const [oldest] = this.values.keys();
    this.values.delete(oldest!);
  }
}
