import { isSkippableMagic } from '../format/skippable-frame';
import { zstdMagic } from '../format/zstd-frame';
import type { ByteSource } from '../source/byte-source';

/**
 * What a layer's bytes begin like. `empty` is an empty tar. `zstd` may be a seekable blob or a compressed tar: only a table tells
 * (findTableFrame()).
 */
export type ContentKind = 'empty' | 'tar' | 'tar+gzip' | 'zstd' | 'erofs' | 'unknown';

const tarBlockSize = 512;
const erofsSuperblockOffset = 1024;
const erofsMagic = 0xe0f5e1e2;
const checksumField = { start: 148, end: 156 };
const ustarField = { start: 257, end: 262 };

/** How many bytes tell what a layer is. */
export const sniffedSize = erofsSuperblockOffset + 4;

/** Tells a layer by its first bytes, never by its name. */
export async function sniffLayer(source: ByteSource, signal?: AbortSignal): Promise<ContentKind> {
  return sniffBytes(await source.read(0, Math.min(source.size, sniffedSize), signal));
}

/** Tells a layer by its first `sniffedSize` bytes, fewer if it has no more. */
export function sniffBytes(bytes: Buffer): ContentKind {
  if (bytes.length === 0) return 'empty';
  const magic = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (magic === zstdMagic || isSkippableMagic(magic)) return 'zstd';
  if (bytes.length >= 3 && bytes.readUIntBE(0, 3) === 0x1f8b08) return 'tar+gzip';
  if (bytes.length < tarBlockSize) return 'unknown';
  // The header of a tar is 512 checksummed bytes, the magic of an EROFS image 4 that a file's data may well hold.
  const header = bytes.subarray(0, tarBlockSize);
  if (isTarHeader(header)) return 'tar';
  const hasSuperblock = bytes.length >= sniffedSize;
  if (hasSuperblock && bytes.readUInt32LE(erofsSuperblockOffset) === erofsMagic) return 'erofs';
  // A tar without entries begins with its end mark.
  return header.every((byte) => byte === 0) ? 'tar' : 'unknown';
}

function isTarHeader(header: Buffer): boolean {
  // With this name but a wrong checksum it is a damaged tar, and the tar reader can say what is wrong.
  if (header.toString('latin1', ustarField.start, ustarField.end) === 'ustar') return true;
  const { start, end } = checksumField;
  const stored = /^[ \0]*([0-7]+)[ \0]*$/.exec(header.toString('latin1', start, end));
  if (stored === null) return false;
  let unsigned = 0;
  let signed = 0;
  header.forEach((value, i) => {
    const byte = i >= start && i < end ? 0x20 : value;
    unsigned += byte;
    // Some old tars added the bytes as signed characters.
    signed += byte < 128 ? byte : byte - 256;
  });
  const sum = parseInt(stored[1]!, 8);
  return sum === unsigned || sum === signed;
}
