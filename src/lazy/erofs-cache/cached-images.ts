import { Mutex } from 'async-mutex';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { failure } from '../../errors';
import { publicName } from '../../public-name';
import type { NativeFuseServer } from '../../native/fuse-server';
import type { LazyFolder } from '../lazy-folder';
import type { AddImageRequest, CachedImageStatus, LazyLayerRequest } from '../messages';
import { tablesName } from '../open-layer';
import type { ServedLayer, ServedLayers } from '../served-layers';
import { readCacheImage } from './cache-image';
import { CacheTree } from './cache-tree';
import { readImages, writeImages, type CachedImage, type CachedLayer } from './image-list';
import { entriesInUse } from './in-use';

const day = 86_400_000;
const defaultKeep = 30;
/** That an image is in use is noted on disk so often; in milliseconds. */
const noteInterval = day / 24;

interface CachedImagesParts {
  folder: LazyFolder;
  layers: ServedLayers;
  fuse: NativeFuseServer;
  /** Days that an image stays which nothing has mounted and nobody asks for. */
  keep?: number | undefined;
  onWarning: (line: string) => void;
}

/**
 * The images whose layers a cache folder shows. They are on disk, and so outlive the server and the machine's restart. What a name shows
 * never changes while an image has it: of two images that claim a DiffID for different layers the first is believed.
 */
export class CachedImages {
  private images: CachedImage[] = [];
  private readonly tree: CacheTree;
  /** Names of layers that are being opened. */
  private readonly claims = new Map<string, CachedLayer>();
  /** One change of the list after the other. */
  private readonly changing = new Mutex();
  private readonly warned = new Set<string>();

  constructor(private readonly parts: CachedImagesParts) {
    this.tree = new CacheTree(parts.fuse);
  }

  /** Reads which images there are; returns the layers that can be opened without a network, and who holds them. */
  async load(): Promise<(LazyLayerRequest & { holders: string[] })[]> {
    const { folder } = this.parts;
    this.images = await readImages(folder.images);
    return this.images.flatMap((image) =>
      image.layers
        .filter(({ request }) => existsSync(join(folder.storeOf(request.key), tablesName)))
        .map(({ request }) => ({ ...request, holders: [holderOf(image)] })),
    );
  }

  /** Shows what is open of the images' layers, and lets go of those of images that are gone. */
  async restore(): Promise<void> {
    const known = new Set(this.images.map(holderOf));
    for (const { request, holders } of await this.parts.layers.all()) {
      for (const holder of holders)
        if (isImageHolder(holder) && !known.has(holder))
          await this.parts.layers.release([request.key], holder);
    }
    for (const image of this.images) await this.showOpen(image);
  }

  /** Shows an image's layers; resolves when their metadata is here. @throws as openLayer(), NOT_FOUND, USAGE for tars, MISMATCH */
  async add(asked: AddImageRequest): Promise<CachedImageStatus> {
    return this.put(await readCacheImage(asked));
  }

  /** As add(), for an image that was read already. */
  async put({ reference, digest, layers }: Omit<CachedImage, 'lastUse'>): Promise<CachedImageStatus> {
    const image = {
      reference,
      digest,
      layers: layers.map((layer) => this.claim(layer)),
      lastUse: Date.now(),
    };
    const before = this.find(reference);
    try {
      await Promise.all(
        uniqueRequests(image).map((request) => this.parts.layers.hold(request, holderOf(image))),
      );
      await this.changing.runExclusive(() => this.replace(image));
    } catch (error) {
      const held = new Set(before?.layers.map(({ request }) => request.key));
      const keys = uniqueRequests(image).map(({ key }) => key);
      await this.parts.layers.release(
        keys.filter((key) => !held.has(key)),
        holderOf(image),
      );
      throw error;
    } finally {
      for (const layer of image.layers)
        if (this.claims.get(layer.name) === layer) this.claims.delete(layer.name);
    }
    await this.showOpen(image);
    return this.statusOf(image);
  }

  async list(): Promise<CachedImageStatus[]> {
    return Promise.all(this.images.map((image) => this.statusOf(image)));
  }

  /**
   * Whether all layers of an image are shown, which counts as asking for it.
   * @param digest of what its reference named
   * @param reference of the image; any when it is undefined
   */
  async isShown(digest: string, reference?: string): Promise<boolean> {
    const found = this.images.filter(
      (image) =>
        image.digest === digest &&
        (reference === undefined || image.reference === reference) &&
        image.layers.every(({ name }) => this.tree.keyOf(name) !== undefined),
    );
    await this.changing.runExclusive(() => this.noteUse(found));
    return found.length > 0;
  }

  /** Takes an image away. @throws NOT_FOUND, FAILED when something is mounted that no other image shows */
  async remove(reference: string): Promise<void> {
    await this.changing.runExclusive(async () => {
      const image = this.find(reference);
      if (image === undefined) {
        const hint = 'lazy ls says what is in it';
        throw failure('NOT_FOUND', publicName(reference), 'the cache has no such image', hint);
      }
      const [name] = await this.mountedOf(image, await entriesInUse());
      if (name !== undefined) {
        const hint = 'remove its containers first (ctr containers, crictl ps -a)';
        throw failure('FAILED', publicName(reference), `its layer ${name} is mounted`, hint);
      }
      await this.drop([image]);
    });
  }

  /** What is to be done now and then: layers that could not be opened are tried again, and images go that nobody uses. */
  async tend(): Promise<void> {
    for (const image of this.images) await this.reopen(image);
    const inUse = await entriesInUse();
    await this.changing.runExclusive(async () => {
      const mounted: CachedImage[] = [];
      for (const image of this.images)
        if ((await this.mountedOf(image, inUse, { shared: true })).length > 0) mounted.push(image);
      await this.noteUse(mounted);
      const oldest = Date.now() - (this.parts.keep ?? defaultKeep) * day;
      const old = this.images.filter(({ lastUse }) => lastUse < oldest);
      if (old.length > 0) await this.drop(old);
    });
  }

  /** Whether nothing has any of the layers open. */
  async isUnused(): Promise<boolean> {
    const inUse = await entriesInUse();
    const mounted = await Promise.all(
      this.images.map((image) => this.mountedOf(image, inUse, { shared: true })),
    );
    return mounted.every((names) => names.length === 0);
  }

  /** A layer is another file now. */
  onEmptied({ request }: ServedLayer): void {
    this.tree.shownAnew(request.key);
  }

  /** A layer turned out not to be what the images that show it say: they go. */
  async onMisfit({ request }: ServedLayer): Promise<void> {
    await this.changing.runExclusive(() =>
      this.drop(
        this.images.filter(({ layers }) => layers.some((layer) => layer.request.key === request.key)),
      ),
    );
  }

  private find(reference: string): CachedImage | undefined {
    return this.images.find((image) => image.reference === reference);
  }

  /** What has the layer's name already; else the layer, which has it from now on. */
  private claim(layer: CachedLayer): CachedLayer {
    const layers = this.images.flatMap((image) => image.layers);
    const known = layers.find(({ name }) => name === layer.name) ?? this.claims.get(layer.name);
    if (known === undefined) {
      this.claims.set(layer.name, layer);
      return layer;
    }
    if (known.request.key === layer.request.key) return layer;
    const [here, first] = [layer, known].map(({ request }) => publicName(request.source));
    this.warnOnce(
      `${layer.name}: ${here} has another layer for it than ${first}, which was here first and stays`,
    );
    return known;
  }

  /** On disk as well, now and then. */
  private async noteUse(images: readonly CachedImage[]): Promise<void> {
    const now = Date.now();
    const isOld = images.some(({ lastUse }) => now - lastUse > noteInterval);
    for (const image of images) image.lastUse = now;
    if (isOld) await writeImages(this.parts.folder.images, this.images);
  }

  /** What the reference named before stays under its digest: containers may run from it. */
  private async replace(image: CachedImage): Promise<void> {
    const before = this.find(image.reference);
    const images =
      before === undefined ? [...this.images, image] : this.images.with(this.images.indexOf(before), image);
    if (before !== undefined && before.digest !== image.digest) {
      const kept = { ...before, reference: withDigest(before) };
      for (const request of uniqueRequests(kept)) await this.parts.layers.hold(request, holderOf(kept));
      if (this.find(kept.reference) === undefined) images.push(kept);
    }
    await writeImages(this.parts.folder.images, images);
    this.images = images;
    const keys = new Set(image.layers.map(({ request }) => request.key));
    const gone = before?.layers.map(({ request }) => request.key).filter((key) => !keys.has(key)) ?? [];
    if (gone.length > 0) await this.parts.layers.release(gone, holderOf(image));
  }

  private async drop(gone: readonly CachedImage[]): Promise<void> {
    const left = this.images.filter((image) => !gone.includes(image));
    await writeImages(this.parts.folder.images, left);
    this.images = left;
    const stay = new Set(left.flatMap(({ layers }) => layers.map(({ name }) => name)));
    for (const image of gone) {
      for (const { name } of image.layers) if (!stay.has(name)) this.tree.hide(name);
      const keys = image.layers.map(({ request }) => request.key);
      await this.parts.layers.release(keys, holderOf(image));
    }
  }

  private async showOpen(image: CachedImage): Promise<void> {
    const open = await this.openLayers();
    for (const { name, request } of image.layers) {
      const served = open.get(request.key);
      if (served !== undefined) await this.tree.show(name, request.key, served.answer);
    }
  }

  /** Of an image that was not all there when the server began: its registry may have been away. */
  private async reopen(image: CachedImage): Promise<void> {
    const missing = image.layers.filter(({ name }) => this.tree.keyOf(name) === undefined);
    if (missing.length === 0) return;
    try {
      await Promise.all(missing.map(({ request }) => this.parts.layers.hold(request, holderOf(image))));
      await this.showOpen(image);
    } catch (error) {
      this.warnOnce(`${publicName(image.reference)}: ${(error as Error).message}`);
    }
  }

  /** Names of an image's layers that something has open; of those that other images show as well only with `shared`. */
  private async mountedOf(
    image: CachedImage,
    inUse: ReadonlySet<string>,
    { shared = false } = {},
  ): Promise<string[]> {
    const open = await this.openLayers();
    const others = this.images.filter((other) => other !== image).flatMap(({ layers }) => layers);
    const otherNames = new Set(shared ? [] : others.map(({ name }) => name));
    return image.layers.flatMap(({ name, request }) => {
      if (otherNames.has(name)) return [];
      const served = open.get(request.key);
      const opened = served === undefined ? 0 : this.parts.layers.openedOf(served);
      return opened > 0 || inUse.has(name) ? [name] : [];
    });
  }

  private async openLayers(): Promise<Map<string, ServedLayer>> {
    return new Map((await this.parts.layers.all()).map((served) => [served.request.key, served]));
  }

  private async statusOf({ reference, digest, layers }: CachedImage): Promise<CachedImageStatus> {
    const open = await this.openLayers();
    return {
      reference: publicName(reference),
      digest,
      layers: layers.map(({ name, request }) => {
        const { chunks = 0, present = 0 } = open.get(request.key)?.layer.counts() ?? {};
        return { diffId: name, chunks, present };
      }),
    };
  }

  /** Of what is tried again and again. */
  private warnOnce(line: string): void {
    if (this.warned.has(line)) return;
    if (this.warned.size >= maxWarned) this.warned.clear();
    this.warned.add(line);
    this.parts.onWarning(line);
  }
}

/** Warnings that are remembered: some come from what registries say. */
const maxWarned = 1000;
const holderPrefix = 'image ';

function holderOf({ reference }: CachedImage): string {
  return `${holderPrefix}${reference}`;
}

/** Whether who has a layer in use is an image of the cache. */
export function isImageHolder(holder: string): boolean {
  return holder.startsWith(holderPrefix);
}

function uniqueRequests({ layers }: CachedImage): LazyLayerRequest[] {
  return [...new Map(layers.map(({ request }) => [request.key, request])).values()];
}

/** `docker://host/repo:tag` by its digest. */
function withDigest({ reference, digest }: CachedImage): string {
  const isRegistry = reference.startsWith('docker://');
  const name = isRegistry ? reference.replace(/@.*$|:[^:/]*$/, '') : reference;
  return `${name}@${digest}`;
}
