import type { RegistryOptions } from '../store/registry/options';
import { checksumOf } from '../layer/decoded-range';
import { isSeekableLayer, openSeekable, type SeekableBlob, type TrustOptions } from '../layer/seekable';
import { openLocation } from '../layer/location';
import { unlessUnreadable } from '../layer/whole-layer';
import { namesLayer } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { openSource } from '../store/open';
import { layersOf, readIndexOf, type ImageLayer } from './image-layers';
import { openImageSet, type PlatformSelection } from './image-set';

/** What an image has in common with another one, as both are stored. */
export interface SharedWith {
  reference: string;
  /** Of the image: bytes of its layers, each once, and how many of them are in layers or chunks that the other one has, too. */
  bytes: number;
  sharedBytes: number;
  /** The same of its chunks with different checksums. */
  chunks: number;
  sharedChunks: number;
}

/** How much several images have in common. */
export interface Sharing {
  images: { reference: string; bytes: number; sharedBytes: number }[];
  /** Bytes of all layers, those of several images counted for each; of different layers; and where equal chunks are stored once, too. */
  bytes: number;
  distinctLayerBytes: number;
  distinctChunkBytes: number;
}

interface SharingOptions extends TrustOptions, RegistryOptions, Pick<PlatformSelection, 'platforms'> {}

/**
 * What an image is stored as, in parts that other images may have as well, and the bytes of each: its chunks by their checksums, and of each layer
 * the rest by its digest.
 */
export class StoredParts {
  private readonly sizes = new Map<string, number>();
  /** Of parts that the image has more than once, all of them. */
  private readonly totals = new Map<string, number>();
  private readonly layers = new Map<string, number>();

  /** The parts of an image (all platforms, unless some are named) or of one blob: manifests and tables are read, nothing else. */
  static async read(refOrPath: string, options: SharingOptions): Promise<StoredParts> {
    const parts = new StoredParts();
    if (namesLayer(refOrPath)) await parts.addFile(refOrPath, options);
    else await parts.addImages(refOrPath, options);
    return parts;
  }

  get bytes(): number {
    return sum(this.layers.values());
  }

  get chunks(): number {
    return [...this.sizes.keys()].filter(isChunk).length;
  }

  /** By digest. */
  get layerSizes(): ReadonlyMap<string, number> {
    return this.layers;
  }

  /** By name, each once. */
  get all(): ReadonlyMap<string, number> {
    return this.sizes;
  }

  /** Bytes of the parts for which `is` holds. */
  bytesOf(is: (name: string) => boolean): number {
    return sum([...this.totals].filter(([name]) => is(name)).map(([, size]) => size));
  }

  sharedWith(reference: string, other: StoredParts): SharedWith {
    const isShared = (name: string): boolean => other.sizes.has(name);
    return {
      reference,
      bytes: this.bytes,
      sharedBytes: this.bytesOf(isShared),
      chunks: this.chunks,
      sharedChunks: [...this.sizes.keys()].filter((name) => isChunk(name) && isShared(name)).length,
    };
  }

  private async addFile(path: string, options: SharingOptions): Promise<void> {
    const file = await openLocation(path, options);
    try {
      this.addLayer(options.descriptor?.digest ?? path, file.size, await openChunks(file, options));
    } finally {
      await file.close();
    }
  }

  private async addImages(text: string, options: SharingOptions): Promise<void> {
    const { platforms } = options;
    const { store, reference } = await openSource(text, options);
    try {
      const set = await openImageSet(store, reference, { platforms, allPlatforms: platforms === undefined });
      for (const layer of set.images.flatMap(layersOf)) await this.addStored(store, layer, options);
    } finally {
      await store.close();
    }
  }

  private async addStored(store: SourceStore, layer: ImageLayer, options: SharingOptions): Promise<void> {
    const { descriptor, index } = layer;
    if (index !== null) this.addLayer(index.descriptor.digest, index.descriptor.size, null);
    if (this.layers.has(descriptor.digest)) return;
    if (!isSeekableLayer(descriptor, index)) {
      this.addLayer(descriptor.digest, descriptor.size, null);
      return;
    }
    const source = await store.openBlob(descriptor);
    try {
      const trust = { ...options, descriptor, indexLayer: await readIndexOf(store, layer) };
      this.addLayer(descriptor.digest, descriptor.size, await openChunks(source, trust));
    } finally {
      await source.close();
    }
  }

  private addLayer(digest: string, size: number, blob: SeekableBlob | null): void {
    if (this.layers.has(digest)) return;
    this.layers.set(digest, size);
    let rest = size;
    const { frames } = blob?.section ?? { frames: null };
    for (let i = 0; frames !== null && frames.checksumSize > 0 && i + 1 < frames.offsets.length; i++) {
      const stored = frames.offsets[i + 1]! - frames.offsets[i]!;
      const name = `${frames.compression} ${Buffer.from(checksumOf(frames, i)).toString('latin1')}`;
      this.addPart(name, stored);
      rest -= stored;
    }
    this.addPart(`layer ${digest}`, rest);
  }

  private addPart(name: string, size: number): void {
    this.sizes.set(name, size);
    this.totals.set(name, (this.totals.get(name) ?? 0) + size);
  }
}

/** How much images have in common. */
export function sharingOf(named: readonly { reference: string; parts: StoredParts }[]): Sharing {
  const owners = new Map<string, number>();
  const sizes = new Map<string, number>();
  for (const { parts } of named)
    for (const [name, size] of parts.all) {
      owners.set(name, (owners.get(name) ?? 0) + 1);
      sizes.set(name, size);
    }
  const images = named.map(({ reference, parts }) => ({
    reference,
    bytes: parts.bytes,
    sharedBytes: parts.bytesOf((name) => owners.get(name)! > 1),
  }));
  const perImage = named.map(({ parts }) => [...parts.layerSizes]);
  const layers = new Map(perImage.flat());
  return {
    images,
    bytes: sum(perImage.flat().map(([, size]) => size)),
    distinctLayerBytes: sum(layers.values()),
    distinctChunkBytes: sum(sizes.values()),
  };
}

/** Null for a layer that has no table that can be read. */
async function openChunks(source: ByteSource, options: TrustOptions): Promise<SeekableBlob | null> {
  return unlessUnreadable(openSeekable(source, options));
}

const isChunk = (name: string): boolean => !name.startsWith('layer ');

function sum(sizes: Iterable<number>): number {
  let total = 0;
  for (const size of sizes) total += size;
  return total;
}
