import { failure } from '../errors';
import { asBuffer, readU64 } from './little-endian';

/*
 * The headers of zstd frames and of their blocks (RFC 8878, section 3.1.1): enough to walk over frames without decompressing.
 *   frame: magic u32, descriptor u8, window u8 unless single segment, dictionary id 0-4, content size 0-8; blocks; checksum 0 or 4
 *   block: 3 bytes: last in bit 0, type in bits 1-2, size above
 */

export const zstdMagic = 0xfd2fb528;
/** Bytes of the longest frame header. */
export const maxZstdHeaderSize = 18;
export const zstdBlockHeaderSize = 3;
const maxBlock = 128 * 1024;

/** What `size` bytes of zstd frames decode to at most: a block takes a byte besides its header, unless it is empty. */
export function maxZstdContent(size: number): number {
  return Math.floor(size / (zstdBlockHeaderSize + 1)) * maxBlock;
}

const dictionaryIdSizes = [0, 1, 2, 4] as const;
const contentSizeSizes = [0, 2, 4, 8] as const;

interface ZstdFrameHeader {
  /** Bytes from the magic to the first block. */
  headerSize: number;
  /** Bytes that the frame decodes to; null when it doesn't say. */
  contentSize: number | null;
  /** Bytes that a decoder must keep. */
  windowSize: number;
  singleSegment: boolean;
  /** Whether 4 bytes of checksum follow the last block. */
  hasChecksum: boolean;
  /** Bytes that a block may have at most, stored or decoded. */
  maxBlockSize: number;
}

interface ZstdBlockHeader {
  last: boolean;
  type: 'raw' | 'rle' | 'compressed';
  /** Bytes between this header and what follows the block. */
  storedSize: number;
}

/**
 * Parses a frame header from the first 18 bytes of a frame, or all there are. CORRUPT, about `what`, when it is none or is cut short;
 * UNSUPPORTED when it asks for a dictionary.
 */
export function parseZstdFrameHeader(bytes: Uint8Array, what = 'zstd frame'): ZstdFrameHeader {
  const header = asBuffer(bytes);
  needBytes(header, 5, what);
  const magic = header.readUInt32LE(0);
  if (magic !== zstdMagic)
    throw failure('CORRUPT', what, `magic 0x${magic.toString(16)} is none of a zstd frame`);
  const descriptor = header.readUInt8(4);
  if ((descriptor & 0x08) !== 0)
    throw failure('CORRUPT', what, 'the reserved bit of the frame header is set');
  const singleSegment = (descriptor & 0x20) !== 0;
  const windowBytes = singleSegment ? 0 : 1;
  const idSize = dictionaryIdSizes[(descriptor & 3) as 0 | 1 | 2 | 3];
  const sizeFlag = (descriptor >> 6) as 0 | 1 | 2 | 3;
  const sizeBytes = sizeFlag === 0 && singleSegment ? 1 : contentSizeSizes[sizeFlag];
  const sizeStart = 5 + windowBytes + idSize;
  const headerSize = sizeStart + sizeBytes;
  needBytes(header, headerSize, what);
  if (idSize > 0 && header.readUIntLE(sizeStart - idSize, idSize) !== 0) {
    throw failure('UNSUPPORTED', what, 'it was compressed with a dictionary');
  }
  const contentSize = readContentSize(header, sizeStart, sizeBytes, what);
  // A single segment always has a content size: its window.
  const windowSize = singleSegment ? contentSize! : windowOf(header.readUInt8(5));
  const maxBlockSize = Math.min(windowSize, maxBlock);
  return {
    headerSize,
    contentSize,
    windowSize,
    singleSegment,
    hasChecksum: (descriptor & 4) !== 0,
    maxBlockSize,
  };
}

function readContentSize(
  header: Buffer,
  start: number,
  size: 0 | 1 | 2 | 4 | 8,
  what: string,
): number | null {
  if (size === 0) return null;
  if (size === 8) return readU64(header, start, what, 'content size');
  // Two bytes count from 256 on, since one byte tells the smaller sizes.
  return header.readUIntLE(start, size) + (size === 2 ? 256 : 0);
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** Parses the 3 bytes at `offset`. CORRUPT, about `what`, for a reserved type and for a size that the frame's header forbids. */
export function parseZstdBlockHeader(
  bytes: Buffer,
  offset: number,
  maxBlockSize: number,
  what = 'zstd block',
): ZstdBlockHeader {
  const bits = bytes.readUIntLE(offset, zstdBlockHeaderSize);
  const type = (['raw', 'rle', 'compressed'] as const)[(bits >> 1) & 3];
  if (type === undefined) throw failure('CORRUPT', what, 'a block has the reserved type 3');
  const size = bits >> 3;
  if (size > maxBlockSize) {
    throw failure('CORRUPT', what, `a block has ${size} bytes, but the frame allows ${maxBlockSize}`);
  }
  return { last: (bits & 1) === 1, type, storedSize: type === 'rle' ? 1 : size };
}

function needBytes(header: Buffer, size: number, what: string): void {
  if (header.length < size)
    throw failure('CORRUPT', what, `it ends after ${header.length} bytes of its header`);
}
