import { failure } from '../errors';
import type { Column } from './entry-columns';
import { findOffsetFault, readChecksums, readOffsets, writeChecksums, writeOffsets } from './entry-columns';
import { asBuffer, isIntegerIn, readU64, writeU64 } from './little-endian';
import { maxSkippablePayload } from './skippable-frame';

/*
 * The chunk table of profile "containerd" (containerd pull request 12764), little-endian, the payload of a skippable frame:
 *    0 magic u32   4 version u32   8 uncompressed size u64   16 chunk size u32   20 hash algorithm u8   21 reserved u16
 * and one entry a chunk: offset of its zstd frame in the blob u64, then 0 or 64 bytes of SHA-512 over that frame.
 */

/** Bytes before the first entry. */
export const chunkTableHeaderSize = 23;
/** On disk `67 EC E4 CD`. */
export const chunkTableMagic = 0xcde4ec67;

const algorithms = [
  { hashAlgorithm: 'none', checksumSize: 0 },
  { hashAlgorithm: 'sha512', checksumSize: 64 },
] as const;

/** What the first 23 bytes of a table say, and what follows from them. */
interface ChunkTableHeader {
  version: 1;
  /** Bytes of the image. */
  uncompressedSize: number;
  /** Bytes of the image in each chunk but the last, which may be shorter. */
  chunkSize: number;
  hashAlgorithm: 'none' | 'sha512';
  /** Bytes of each entry's checksum. */
  checksumSize: 0 | 64;
  chunkCount: number;
  /** Bytes that the whole table must have, header included. */
  payloadSize: number;
}

/** A blob's chunk table. */
export interface ChunkTable {
  version: 1;
  /** Bytes of the image. */
  uncompressedSize: number;
  /** Bytes of the image in each chunk but the last, which may be shorter. */
  chunkSize: number;
  hashAlgorithm: 'none' | 'sha512';
  /** Where each chunk's frame begins in the blob, and last where the table does: chunks + 1 numbers. */
  offsets: Float64Array;
  /** The frames' checksums behind each other, `checksumSize` bytes each. */
  checksums: Uint8Array;
  checksumSize: 0 | 64;
}

/**
 * The header alone, so that the size of the rest is known (and can be compared with the frame's and the blob's) before it is read.
 * CORRUPT, about `what`, for every field that is not as the format has it, and for sizes beyond 2^53 - 1.
 */
export function parseChunkTableHeader(bytes: Uint8Array, what = 'chunk table'): ChunkTableHeader {
  if (bytes.length < chunkTableHeaderSize) {
    throw failure('CORRUPT', what, `${bytes.length} bytes, less than the header's ${chunkTableHeaderSize}`);
  }
  const header = asBuffer(bytes);
  const magic = header.readUInt32LE(0);
  if (magic !== chunkTableMagic) {
    throw failure('CORRUPT', what, `magic is 0x${magic.toString(16)}, not 0x${chunkTableMagic.toString(16)}`);
  }
  const version = header.readUInt32LE(4);
  if (version !== 1) throw failure('CORRUPT', what, `version is ${version}, not 1`);
  const chunkSize = header.readUInt32LE(16);
  if (chunkSize === 0) throw failure('CORRUPT', what, 'chunk size is 0');
  const algorithm = algorithms[header.readUInt8(20)];
  if (algorithm === undefined) {
    throw failure(
      'CORRUPT',
      what,
      `hash algorithm is ${header.readUInt8(20)}, neither 0 (none) nor 1 (SHA-512)`,
    );
  }
  const reserved = header.readUInt16LE(21);
  if (reserved !== 0) throw failure('CORRUPT', what, `reserved field is ${reserved}, not 0`);
  const uncompressedSize = readU64(header, 8, what, 'uncompressed size');
  return {
    version: 1,
    uncompressedSize,
    chunkSize,
    ...algorithm,
    ...measure(uncompressedSize, chunkSize, algorithm.checksumSize, what),
  };
}

/** Entries and bytes of a table; CORRUPT when no skippable frame could hold it. */
function measure(uncompressedSize: number, chunkSize: number, checksumSize: number, what: string) {
  const chunkCount = (BigInt(uncompressedSize) + BigInt(chunkSize) - 1n) / BigInt(chunkSize);
  const payloadSize = BigInt(chunkTableHeaderSize) + chunkCount * BigInt(8 + checksumSize);
  if (payloadSize > BigInt(maxSkippablePayload)) {
    const why = `uncompressed size ${uncompressedSize} and chunk size ${chunkSize} make ${chunkCount} entries, `;
    throw failure('CORRUPT', what, `${why}${payloadSize} bytes: more than a skippable frame holds`);
  }
  return { chunkCount: Number(chunkCount), payloadSize: Number(payloadSize) };
}

/** Parses the payload of a table's skippable frame, whose header is at `tableOffset` of the blob. CORRUPT, about `what`, when it breaks the format. */
export function parseChunkTable(payload: Uint8Array, tableOffset: number, what = 'chunk table'): ChunkTable {
  const header = parseChunkTableHeader(payload, what);
  const { uncompressedSize, chunkSize, hashAlgorithm, checksumSize, chunkCount } = header;
  if (payload.length !== header.payloadSize) {
    const rule = `${chunkCount} entries of ${8 + checksumSize} bytes make ${header.payloadSize}`;
    throw failure('CORRUPT', what, `payload has ${payload.length} bytes, but a header and ${rule}`);
  }
  if (!isIntegerIn(tableOffset, 0, Number.MAX_SAFE_INTEGER)) {
    throw failure('USAGE', what, `${tableOffset} is no offset of a table`);
  }
  const offsets = readOffsets(asBuffer(payload), offsetColumn(header), tableOffset, what, 'offset');
  const checksums = readChecksums(payload, checksumColumn(header), checksumSize);
  return { version: 1, uncompressedSize, chunkSize, hashAlgorithm, offsets, checksums, checksumSize };
}

/** The payload of a table's skippable frame. USAGE when the table could not be parsed again. */
export function serializeChunkTable(table: ChunkTable): Buffer {
  const header = checkTable(table);
  const payload = Buffer.alloc(header.payloadSize);
  payload.writeUInt32LE(chunkTableMagic, 0);
  payload.writeUInt32LE(1, 4);
  writeU64(payload, table.uncompressedSize, 8);
  payload.writeUInt32LE(table.chunkSize, 16);
  payload.writeUInt8(table.hashAlgorithm === 'none' ? 0 : 1, 20);
  writeOffsets(payload, offsetColumn(header), table.offsets);
  writeChecksums(payload, checksumColumn(header), table.checksumSize, table.checksums);
  return payload;
}

function checkTable(
  table: ChunkTable,
): Pick<ChunkTableHeader, 'checksumSize' | 'chunkCount' | 'payloadSize'> {
  const what = 'chunk table';
  const { uncompressedSize, chunkSize, hashAlgorithm, offsets, checksums, checksumSize } = table;
  if (!isIntegerIn(uncompressedSize, 0, Number.MAX_SAFE_INTEGER)) {
    throw failure('USAGE', what, `${uncompressedSize} is no uncompressed size`);
  }
  if (!isIntegerIn(chunkSize, 1, 0xffff_ffff)) throw failure('USAGE', what, `${chunkSize} is no chunk size`);
  if (
    !algorithms.some((known) => known.hashAlgorithm === hashAlgorithm && known.checksumSize === checksumSize)
  ) {
    throw failure(
      'USAGE',
      what,
      `hash algorithm ${hashAlgorithm} doesn't go with checksums of ${checksumSize} bytes`,
    );
  }
  const size = measure(uncompressedSize, chunkSize, checksumSize, what);
  if (offsets.length !== size.chunkCount + 1 || checksums.length !== size.chunkCount * checksumSize) {
    const got = `${offsets.length} offsets and ${checksums.length} bytes of checksums`;
    throw failure('USAGE', what, `${got} for ${size.chunkCount} chunks`);
  }
  const fault = offsets.every(Number.isSafeInteger)
    ? findOffsetFault(offsets, 'offset')
    : 'an offset is no safe integer';
  if (fault !== null) throw failure('USAGE', what, fault);
  return { checksumSize, ...size };
}

type Shape = Pick<ChunkTableHeader, 'checksumSize' | 'chunkCount'>;

function offsetColumn({ checksumSize, chunkCount }: Shape): Column {
  return { first: chunkTableHeaderSize, stride: 8 + checksumSize, count: chunkCount };
}

function checksumColumn({ checksumSize, chunkCount }: Shape): Column {
  return { first: chunkTableHeaderSize + 8, stride: 8 + checksumSize, count: chunkCount };
}
