import { failure } from '../errors';
import type { ByteSource } from '../source/byte-source';
import type { BlockSpace } from './block-space';
import type { CompressedContext, CompressedReader } from './compressed/context';
import { extentsOf, flatExtents, type Extent, type MapContext } from './data-map';
import { corrupt, type Inode } from './inode';
import { LruMap } from './lru-map';
import type { MetadataArea } from './metadata-area';

const pieceSize = 4 << 20; // bytes: what is read at once of a longer range
const openReaders = 8;

/** A stretch of a file: data, or a hole, which reads as zeros and takes no space. */
export interface Segment {
  offset: number;
  length: number;
  hole: boolean;
}

/** A stretch of a file's data, and where it lies as it is; with `source` null, it must be read through the reader of the file. */
export interface PlacedExtent {
  offset: number;
  length: number;
  source: ByteSource | null;
  /** Offset in `source`. */
  address: number;
  /** Behind the inode, among the metadata. */
  inline?: true;
}

/** Reads the bytes of files, directories and symlinks of one image. */
export class DataReader {
  /** Compressed files read last: their maps and clusters are worth keeping. */
  private readonly readers = new LruMap<bigint, CompressedReader>(openReaders);

  constructor(
    private readonly map: MapContext,
    private readonly space: BlockSpace,
    /** The image's own bytes, in windows: for what metadata needs. */
    private readonly main: MetadataArea,
    private readonly contextOf: (inode: Inode) => CompressedContext,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Exactly [offset, offset + length) of the inode's data. USAGE outside of it; CORRUPT where the image has not got the bytes. */
  async read(inode: Inode, offset: number, length: number): Promise<Buffer> {
    checkInside(inode, offset, length);
    if (inode.layout === 'full' || inode.layout === 'compact') {
      return this.readCompressed(await this.compressed(inode), offset, length);
    }
    let bytes: Buffer | undefined;
    for await (const extent of extentsOf(this.map, inode, offset, offset + length)) {
      this.check(inode, extent);
      if (extent.length === length && extent.kind !== 'hole') return this.readExtent(inode, extent);
      bytes ??= Buffer.alloc(length); // untouched zeros cost no memory
      if (extent.kind !== 'hole') await this.fill(inode, extent, bytes, extent.offset - offset);
    }
    return bytes ?? Buffer.alloc(length);
  }

  /** The stretches of the inode's data, in order, each as long as can be. Compressed data counts as data. */
  async *segments(inode: Inode): AsyncGenerator<Segment, void, undefined> {
    if (inode.size === 0) return;
    if (inode.layout === 'full' || inode.layout === 'compact') {
      yield { offset: 0, length: inode.size, hole: false };
      return;
    }
    let run: Segment | undefined;
    for await (const extent of extentsOf(this.map, inode, 0, inode.size)) {
      this.check(inode, extent);
      const { offset, length } = extent;
      const hole = extent.kind === 'hole';
      if (run?.hole === hole) {
        run.length += length;
      } else {
        if (run !== undefined) yield run;
        run = { offset, length, hole };
      }
    }
    if (run !== undefined) yield run;
  }

  /** Where the inode's data lies, in order, without its holes: at once, but for long chunk maps. */
  extents(inode: Inode): Iterable<PlacedExtent> | AsyncIterable<PlacedExtent> {
    if (inode.size === 0) return [];
    if (inode.layout === 'full' || inode.layout === 'compact') {
      return [{ offset: 0, length: inode.size, source: null, address: 0 }];
    }
    if (inode.layout === 'chunks') return this.chunkExtents(inode);
    const placed: PlacedExtent[] = [];
    for (const extent of flatExtents(this.map.blockSize, inode)) {
      if (extent.length > 0 && extent.kind !== 'hole') placed.push(this.place(inode, extent));
    }
    return placed;
  }

  private async *chunkExtents(inode: Inode): AsyncGenerator<PlacedExtent, void, undefined> {
    for await (const extent of extentsOf(this.map, inode, 0, inode.size)) {
      if (extent.kind !== 'hole') yield this.place(inode, extent);
    }
  }

  /** REQUIRES: no hole. */
  private place(inode: Inode, extent: Extent): PlacedExtent {
    const { kind, device, address, offset, length } = extent;
    if (kind === 'inline') {
      this.check(inode, extent);
      // The main area's offsets are the image's, the metabox's are not.
      const source = inode.area === this.main ? this.space.image : null;
      return { offset, length, source, address, inline: true };
    }
    const place = this.space.locate(device, address, length);
    return { offset, length, source: place.source, address: place.offset };
  }

  /** CORRUPT unless the bytes exist: before memory is taken for them. */
  private check(inode: Inode, { kind, device, address, length }: Extent): void {
    if (kind === 'blocks') this.space.locate(device, address, length);
    if (kind === 'inline' && address + length > inode.area.size) {
      throw corrupt(inode.area.name, inode.nid, `its inline tail ends beyond ${inode.area.size} bytes`);
    }
  }

  private async fill(inode: Inode, extent: Extent, target: Buffer, start: number): Promise<void> {
    for (let done = 0; done < extent.length; done += pieceSize) {
      const length = Math.min(pieceSize, extent.length - done);
      const piece = await this.readExtent(inode, { ...extent, address: extent.address + done, length });
      piece.copy(target, start + done);
    }
  }

  private async readExtent(inode: Inode, { kind, device, address, length }: Extent): Promise<Buffer> {
    if (kind === 'inline') return Buffer.from(await inode.area.read(address, length));
    const { source, offset } = this.space.locate(device, address, length);
    // Directories and symlinks are read again and again, and lie together.
    if (inode.type !== 'file' && source === this.space.image) {
      return Buffer.from(await this.main.read(offset, length));
    }
    return source.read(offset, length, this.signal);
  }

  private async readCompressed(reader: CompressedReader, offset: number, length: number): Promise<Buffer> {
    if (length <= pieceSize) return reader.read(offset, length);
    let bytes: Buffer | undefined;
    for (let done = 0; done < length; done += pieceSize) {
      const piece = await reader.read(offset + done, Math.min(pieceSize, length - done));
      bytes ??= Buffer.alloc(length);
      piece.copy(bytes, done);
    }
    return bytes ?? Buffer.alloc(0);
  }

  private async compressed(inode: Inode): Promise<CompressedReader> {
    const { createCompressedReader } = await import('./compressed/reader.js'); // 18 modules, which our own images don't need
    const known = this.readers.get(inode.nid);
    if (known !== undefined) return known;
    const reader = createCompressedReader(this.contextOf(inode), {
      layout: inode.layout === 'full' ? 'full' : 'compact',
      size: inode.size,
      mapStart: inode.bodyEnd,
      compressedBlocks: inode.startBlock ?? 0,
      nid: inode.nid,
    });
    this.readers.set(inode.nid, reader, 1);
    return reader;
  }
}

function checkInside(inode: Inode, offset: number, length: number): void {
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (valid && offset + length <= inode.size) return;
  const why = `inode ${inode.nid}: bytes ${offset} to ${offset + length} were asked for of ${inode.size}`;
  throw failure('USAGE', inode.area.name, why);
}
