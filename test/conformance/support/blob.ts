import { createHash } from 'node:crypto';

/** What a blob of profile "containerd" holds, read by nothing but the text of docs/format/containerd-profile.md. */
export interface Blob {
  uncompressedSize: number;
  chunkSize: number;
  frames: { offset: number; end: number; checksum: string; bytes: Buffer }[];
  /** The table's payload. */
  table: Buffer;
  tableOffset: number;
  /** The dm-verity payload and where its frame's header is; null without one. */
  verity: { offset: number; payload: Buffer } | null;
}

export const hex = (algorithm: 'sha256' | 'sha512', bytes: Uint8Array): string =>
  createHash(algorithm).update(bytes).digest('hex');

const skippableMagic = 0x184d2a50;
const hashSize = 64;

/** Takes a blob apart; `tableOffset` is what its descriptor says. */
export function parseBlob(blob: Buffer, tableOffset: number): Blob {
  const table = skippable(blob, tableOffset);
  if (table.toString('hex', 0, 8) !== '67ece4cd01000000') throw new Error('no table of version 1');
  const [algorithm, reserved] = [table[20], table.readUInt16LE(21)];
  if (algorithm !== 1 || reserved !== 0) throw new Error(`algorithm ${algorithm}, reserved ${reserved}`);
  const uncompressedSize = Number(table.readBigUInt64LE(8));
  const chunkSize = table.readUInt32LE(16);
  const count = (table.length - 23) / (8 + hashSize);
  if (count !== Math.ceil(uncompressedSize / chunkSize)) throw new Error(`${count} entries`);
  const entry = (i: number): number => 23 + i * (8 + hashSize);
  const offsets = Array.from({ length: count }, (_, i) => Number(table.readBigUInt64LE(entry(i))));
  const frames = offsets.map((offset, i) => {
    const end = offsets[i + 1] ?? tableOffset;
    const checksum = table.toString('hex', entry(i) + 8, entry(i + 1));
    return { offset, end, checksum, bytes: blob.subarray(offset, end) };
  });
  const tableEnd = tableOffset + 8 + table.length;
  const verity = tableEnd === blob.length ? null : { offset: tableEnd, payload: skippable(blob, tableEnd) };
  if (verity !== null && tableEnd + 8 + verity.payload.length !== blob.length)
    throw new Error('more after the tree');
  return { uncompressedSize, chunkSize, frames, table, tableOffset, verity };
}

function skippable(blob: Buffer, offset: number): Buffer {
  if (blob.readUInt32LE(offset) !== skippableMagic) throw new Error(`no skippable frame at ${offset}`);
  return blob.subarray(offset + 8, offset + 8 + blob.readUInt32LE(offset + 4));
}
