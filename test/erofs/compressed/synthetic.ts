import type { CompressedContext, CompressedInode } from '../../../src/erofs/compressed/context';
import { failure } from '../../../src/errors';
import { checkRange } from '../../../src/source/range';

export const blockSize = 4096;

/** Advise bits of a map header. */
export const advise = {
  compact2B: 1,
  extents: 1,
  big1: 2,
  big2: 4,
  inline: 8,
  interlaced: 0x10,
  fragment: 0x20,
};

export interface Header {
  /** The first four bytes. */
  first?: number;
  advise?: number;
  algorithms?: number;
  clusterBits?: number;
}

export function mapHeader({ first = 0, advise: bits = 0, algorithms = 0, clusterBits = 0 }: Header): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(first, 0);
  bytes.writeUInt16LE(bits, 4);
  bytes[6] = algorithms;
  bytes[7] = clusterBits;
  return bytes;
}

/** An entry of a full index. */
export function head(type: number, clusterOffset: number, block: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(type, 0);
  bytes.writeUInt16LE(clusterOffset, 2);
  bytes.writeUInt32LE(block, 4);
  return bytes;
}

export function nonhead(distance: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(2, 0);
  bytes.writeUInt16LE(distance, 4);
  return bytes;
}

/** A full map: header, the 8 bytes that nothing uses, entries. */
export function fullMap(header: Header, entries: Buffer[]): Buffer {
  return Buffer.concat([mapHeader(header), Buffer.alloc(8), ...entries]);
}

/** An image of bytes: a map at byte 0, and data in blocks from block 0 on. It counts what is read. */
export class SyntheticImage implements CompressedContext {
  readonly name = 'synthetic';
  readonly blockSize = blockSize;
  readonly has48Bit = true;
  readonly algorithms = {
    available: 0b1101,
    lz4: { maxDistance: 65535, maxClusterBlocks: 1 },
    lzma: { dictionarySize: 0, format: 0 },
    deflate: { windowBits: 0 },
    zstd: { format: 0, windowLog: 0 },
  };
  readonly dataReads: { offset: number; length: number }[] = [];
  metadataReads = 0;
  lz4ZeroPadding = true;
  fragments: Buffer = Buffer.alloc(0);
  /** What cannot be read at present. */
  failing: 'metadata' | 'data' | undefined;

  constructor(
    readonly metadata: Buffer,
    readonly data: Buffer = Buffer.alloc(0),
  ) {}

  inode(size: number, layout: 'full' | 'compact' = 'full'): CompressedInode {
    return { layout, size, mapStart: 0, compressedBlocks: 0, nid: 42n };
  }

  async readMetadata(offset: number, length: number): Promise<Buffer> {
    if (this.failing === 'metadata') throw failure('IO', 'network', 'down');
    this.metadataReads++;
    return part(this.metadata, offset, length);
  }

  async readData(offset: number, length: number): Promise<Buffer> {
    if (this.failing === 'data') throw failure('IO', 'network', 'down');
    this.dataReads.push({ offset, length });
    return part(this.data, offset, length);
  }

  async readFragment(offset: number, length: number): Promise<Buffer> {
    return part(this.fragments, offset, length);
  }
}

function part(bytes: Buffer, offset: number, length: number): Buffer {
  checkRange({ name: 'synthetic', size: bytes.length }, offset, length);
  return bytes.subarray(offset, offset + length);
}

/** Blocks of which each byte tells its place. */
export function numberedBlocks(count: number): Buffer {
  const bytes = Buffer.alloc(count * blockSize);
  for (let index = 0; index < bytes.length; ++index) bytes[index] = index * 7 + (index >> 8);
  return bytes;
}

/** `bytes` at the end of whole blocks, as the format pads what is compressed. */
export function padded(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc((blockSize - (bytes.length % blockSize)) % blockSize), bytes]);
}
