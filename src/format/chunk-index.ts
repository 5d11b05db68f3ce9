import { failure } from '../errors';
import type { Column } from './entry-columns';
import { findOffsetFault, readChecksums, readOffsets, writeChecksums, writeOffsets } from './entry-columns';
import { asBuffer, isIntegerIn, isZero, readU64, writeU64 } from './little-endian';

/*
 * The chunk index of profile "erofs-image-spec" (draft specification of EROFS image layers), little-endian:
 *    0 magic   4 version u8   5 compression u8   6 flags u16   8 uncompressed size u64   16 chunks u32
 *   20 hash family u8   21 hash size u8   22 reserved, 10 bytes
 * and one entry a chunk: offset in the blob u64, uncompressed offset u64, checksum over the bytes as stored.
 * A reader that doesn't know a version, compression, flag or hash family reads the layer without the index: UNSUPPORTED.
 */

/** Bytes before the first entry. */
export const chunkIndexHeaderSize = 32;
/** On disk `CD E4 EC 67`. */
export const chunkIndexMagic = 0x67ece4cd;

const compressions = ['none', 'zstd'] as const;
const offsetsSize = 16;

/** What the first 32 bytes of an index say, and what follows from them. */
interface ChunkIndexHeader {
  /** Bytes of the image data, the dm-verity tree included. */
  uncompressedSize: number;
  compression: 'none' | 'zstd';
  chunkCount: number;
  /** Bytes of each entry's checksum: none, SHA-256 or SHA-512. */
  checksumSize: 0 | 32 | 64;
  /** Bytes that the whole index must have, header included. */
  payloadSize: number;
}

/** Chunk i of a blob is [offsets[i], offsets[i + 1]) of it and [starts[i], starts[i + 1]) of the image data. */
export interface ChunkIndex {
  /** Bytes of the image data, the dm-verity tree included. */
  uncompressedSize: number;
  compression: 'none' | 'zstd';
  /**
   * Where each chunk begins in the blob, and where the last one ends: chunks + 1 numbers. With zstd the last end is only a limit,
   * for a padding frame may stand before the index: decode exactly one frame.
   */
  offsets: Float64Array;
  /** Where each chunk begins in the image data, and the size of that: chunks + 1 numbers. */
  starts: Float64Array;
  /** The checksums of the chunks as stored, behind each other, `checksumSize` bytes each. */
  checksums: Uint8Array;
  checksumSize: 0 | 32 | 64;
}

/**
 * The header alone, so that the size of the rest is known before it is read. About `what`: CORRUPT when it breaks the format,
 * UNSUPPORTED when the layer must be read without this index.
 */
export function parseChunkIndexHeader(bytes: Uint8Array, what = 'chunk index'): ChunkIndexHeader {
  if (bytes.length < chunkIndexHeaderSize) {
    throw failure('CORRUPT', what, `${bytes.length} bytes, less than the header's ${chunkIndexHeaderSize}`);
  }
  const header = asBuffer(bytes);
  const magic = header.readUInt32LE(0);
  if (magic !== chunkIndexMagic) {
    throw failure('CORRUPT', what, `magic is 0x${magic.toString(16)}, not 0x${chunkIndexMagic.toString(16)}`);
  }
  const compression = readCompression(header, what);
  const checksumSize = readChecksumSize(header, what);
  if (!isZero(header.subarray(22, chunkIndexHeaderSize))) {
    throw failure(
      'CORRUPT',
      what,
      `reserved bytes are ${header.toString('hex', 22, chunkIndexHeaderSize)}, not 0`,
    );
  }
  const uncompressedSize = readU64(header, 8, what, 'uncompressed size');
  const chunkCount = header.readUInt32LE(16);
  // Below 2^32 entries of at most 80 bytes: exact as a number.
  const payloadSize = chunkIndexHeaderSize + chunkCount * (offsetsSize + checksumSize);
  return { uncompressedSize, compression, chunkCount, checksumSize, payloadSize };
}

function readCompression(header: Buffer, what: string): 'none' | 'zstd' {
  const version = header.readUInt8(4);
  if (version !== 1) throw failure('UNSUPPORTED', what, `version is ${version}, not 1`);
  const compression = compressions[header.readUInt8(5)];
  if (compression === undefined) {
    throw failure(
      'UNSUPPORTED',
      what,
      `compression type is ${header.readUInt8(5)}, neither 0 (none) nor 1 (zstd)`,
    );
  }
  const flags = header.readUInt16LE(6);
  if (flags !== 0)
    throw failure('UNSUPPORTED', what, `flags are 0x${flags.toString(16)}, of which none is known`);
  return compression;
}

function readChecksumSize(header: Buffer, what: string): 0 | 32 | 64 {
  const family = header.readUInt8(20);
  const size = header.readUInt8(21);
  if (family === 0 && size === 0) return 0;
  if (family === 1 && (size === 32 || size === 64)) return size;
  if (family > 1)
    throw failure('UNSUPPORTED', what, `hash family is ${family}, neither 0 (none) nor 1 (SHA-2)`);
  throw failure('CORRUPT', what, `hash size ${size} doesn't go with hash family ${family}`);
}

/**
 * Parses an index. `end` is where the chunks of the blob end at the latest: the start of the index section, or the blob's size when the
 * index stands alone. Errors are those of parseChunkIndexHeader().
 */
export function parseChunkIndex(payload: Uint8Array, end: number, what = 'chunk index'): ChunkIndex {
  const header = parseChunkIndexHeader(payload, what);
  const { uncompressedSize, compression, checksumSize, chunkCount } = header;
  if (payload.length !== header.payloadSize) {
    const rule = `${chunkCount} entries of ${offsetsSize + checksumSize} bytes make ${header.payloadSize}`;
    throw failure('CORRUPT', what, `payload has ${payload.length} bytes, but a header and ${rule}`);
  }
  if (!isIntegerIn(end, 0, Number.MAX_SAFE_INTEGER))
    throw failure('USAGE', what, `${end} is no end of chunks`);
  if (compression === 'none' && uncompressedSize > end) {
    throw failure(
      'CORRUPT',
      what,
      `uncompressed size is ${uncompressedSize}, but the image data ends at ${end}`,
    );
  }
  const bytes = asBuffer(payload);
  const starts = readOffsets(bytes, column(header, 8), uncompressedSize, what, 'uncompressed offset');
  const limit = compression === 'none' ? uncompressedSize : end;
  const offsets = readOffsets(bytes, column(header, 0), limit, what, 'offset');
  if (compression === 'none') {
    const fault = findRawFault(offsets, starts);
    if (fault !== null) throw failure('CORRUPT', what, fault);
  }
  const checksums = readChecksums(payload, column(header, offsetsSize), checksumSize);
  return { uncompressedSize, compression, offsets, starts, checksums, checksumSize };
}

/** In a raw layer the image data lies at offset 0 as is, so both offsets of an entry are the same. */
function findRawFault(offsets: Float64Array, starts: Float64Array): string | null {
  const wrong = offsets.findIndex((offset, i) => offset !== starts[i]);
  if (wrong < 0) return null;
  return `offset of entry ${wrong} is ${offsets[wrong]!} in a raw layer, but its uncompressed offset ${starts[wrong]!}`;
}

/** The bytes of an index. USAGE when they could not be parsed again. */
export function serializeChunkIndex(index: ChunkIndex): Buffer {
  const header = checkIndex(index);
  const payload = Buffer.alloc(chunkIndexHeaderSize + header.chunkCount * (offsetsSize + index.checksumSize));
  payload.writeUInt32LE(chunkIndexMagic, 0);
  payload.writeUInt8(1, 4);
  payload.writeUInt8(compressions.indexOf(index.compression), 5);
  writeU64(payload, index.uncompressedSize, 8);
  payload.writeUInt32LE(header.chunkCount, 16);
  payload.writeUInt8(index.checksumSize === 0 ? 0 : 1, 20);
  payload.writeUInt8(index.checksumSize, 21);
  writeOffsets(payload, column(header, 0), index.offsets);
  writeOffsets(payload, column(header, 8), index.starts);
  writeChecksums(payload, column(header, offsetsSize), index.checksumSize, index.checksums);
  return payload;
}

function checkIndex({
  uncompressedSize,
  compression,
  offsets,
  starts,
  checksums,
  checksumSize,
}: ChunkIndex): Shape {
  const chunkCount = starts.length - 1;
  const faults = [
    isIntegerIn(chunkCount, 0, 0xffff_ffff) ? null : `${chunkCount} is no number of chunks`,
    offsets.length === starts.length
      ? null
      : `${offsets.length} offsets, but ${starts.length} uncompressed offsets`,
    checksums.length === chunkCount * checksumSize ? null : `${checksums.length} bytes of checksums`,
    starts[chunkCount] === uncompressedSize ? null : `the last chunk doesn't end at ${uncompressedSize}`,
    offsets.every(Number.isSafeInteger) && starts.every(Number.isSafeInteger)
      ? null
      : 'an offset is no safe integer',
    findOffsetFault(offsets, 'offset'),
    findOffsetFault(starts, 'uncompressed offset'),
    compression === 'none' ? findRawFault(offsets, starts) : null,
  ];
  const fault = faults.find((found) => found !== null);
  if (fault !== undefined) throw failure('USAGE', 'chunk index', fault);
  return { checksumSize, chunkCount };
}

type Shape = Pick<ChunkIndexHeader, 'checksumSize' | 'chunkCount'>;

function column({ checksumSize, chunkCount }: Shape, field: number): Column {
  return { first: chunkIndexHeaderSize + field, stride: offsetsSize + checksumSize, count: chunkCount };
}
