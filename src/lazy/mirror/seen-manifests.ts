import { isErofsLayer, isIndexType, isManifestType, layerFormat } from '../../format/media-types';
import { layersOf } from '../../image/image-layers';
import { readEntry } from '../../image/image-set';
import { isSeekableLayer } from '../../layer/seekable';
import { pairsOf } from '../../oci/erofs-platform';
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
 * index that a tag names, an image of tars is shown as the EROFS image beside it; no other index, and no index by its digest alone, is
 * believed that (docs/containerd.md).
 */
export class SeenManifests {
  /** What tags named when somebody asked: `place@digest`, and the reference. */
  private readonly tagged = new Bounded<string>(maxRemembered);
  /** By the manifest of tars, `place@digest`: the EROFS image beside it, and the reference of both. */
  private readonly beside = new Bounded<{ erofs: Descriptor; reference: string }>(maxRemembered);
  private readonly adding = new Map<string, Promise<void>>();

  constructor(
    private readonly images: Pick<CachedImages, 'put'>,
    private readonly access: LazyAccess,
  ) {}

  /** A registry says what a tag names. */
  onTag(place: string, tag: string, digest: string): void {
    this.tagged.set(`${place}@${digest}`, `docker://${place}:${tag}`);
  }

  /** Resolves when the layers of an image of ours are in the cache, or it is none. @throws what is wrong with it */
  async onManifest(seen: SeenManifest, store: Omit<SourceStore, 'close'>): Promise<void> {
    const { place, tag, descriptor } = seen;
    if (tag !== null) this.onTag(place, tag, descriptor.digest);
    if (isIndexType(descriptor.mediaType)) this.onIndex(seen);
    if (!isManifestType(descriptor.mediaType)) return;
    const key = `${place}@${descriptor.digest}`;
    // Clients ask at the same time: for several pods, or one after its time-out.
    const adding = this.adding.get(key) ?? this.addOnce(seen, store).finally(() => this.adding.delete(key));
    this.adding.set(key, adding);
    await adding;
  }

  private onIndex({ place, descriptor, bytes }: SeenManifest): void {
    const reference = this.tagged.get(`${place}@${descriptor.digest}`);
    if (reference === undefined) return;
    const host = hostPlatform();
    const { manifests } = parseIndex(bytes, descriptor.digest);
    const fitting = manifests.filter(
      ({ platform }) => platform !== undefined && platformMatches(platform, host),
    );
    for (const { digest } of fitting.slice(0, maxPairs)) this.tagged.set(`${place}@${digest}`, reference);
    for (const { tar, erofs } of pairsOf(fitting).slice(0, maxPairs))
      this.beside.set(`${place}@${tar.digest}`, { erofs, reference });
  }

  private async addOnce(seen: SeenManifest, store: Omit<SourceStore, 'close'>): Promise<void> {
    const { place, descriptor, bytes } = seen;
    const key = `${place}@${descriptor.digest}`;
    const pair = this.beside.get(key);
    const reference = this.tagged.get(key) ?? `docker://${key}`;
    const manifest = parseManifest(bytes, descriptor.digest);
    if (isOurs(manifest)) await this.addOwn(seen, reference, store);
    else if (pair !== undefined) await this.addBeside(seen, pair, store);
  }

  private async addOwn(
    { place, descriptor }: SeenManifest,
    reference: string,
    store: Omit<SourceStore, 'close'>,
  ): Promise<void> {
    const image = await readEntry(store as SourceStore, descriptor);
    const { digest } = descriptor;
    await this.images.put({ reference, digest, layers: ownLayers(image, this.originOf(place, digest)) });
  }

  private async addBeside(
    { place, descriptor }: SeenManifest,
    { erofs, reference }: { erofs: Descriptor; reference: string },
    store: Omit<SourceStore, 'close'>,
  ): Promise<void> {
    const [tars, converted] = await Promise.all([
      readEntry(store as SourceStore, descriptor),
      readEntry(store as SourceStore, erofs),
    ]);
    if (!isOurs(converted.manifest)) return;
    const layers = tarLayers(layersOf(tars), layersOf(converted), this.originOf(place, erofs.digest));
    if (layers !== null) await this.images.put({ reference, digest: descriptor.digest, layers });
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
