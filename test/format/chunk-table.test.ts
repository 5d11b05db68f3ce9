import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { ChunkTable } from '../../src/format/chunk-table';
import { parseChunkTable, parseChunkTableHeader, serializeChunkTable } from '../../src/format/chunk-table';
import { refusal } from '../support/refusal';

/** Any table that can be written. */
const tables: fc.Arbitrary<ChunkTable> = fc
  .record({
    lengths: fc.array(fc.integer({ min: 1, max: 2 ** 40 }), { maxLength: 40 }),
    chunkSize: fc.integer({ min: 1, max: 0xffff_ffff }),
    lastPart: fc.double({ min: 0, max: 1, noNaN: true }),
    hashed: fc.boolean(),
    byte: fc.nat(255),
  })
  .map(({ lengths, chunkSize, lastPart, hashed, byte }) => {
    const last = Math.max(1, Math.round(chunkSize * lastPart));
    const offsets = new Float64Array(lengths.length + 1);
    lengths.forEach((length, i) => (offsets[i + 1] = offsets[i]! + length));
    const checksumSize = hashed ? 64 : 0;
    return {
      version: 1,
      uncompressedSize: lengths.length === 0 ? 0 : (lengths.length - 1) * chunkSize + last,
      chunkSize,
      hashAlgorithm: hashed ? 'sha512' : 'none',
      offsets,
      checksums: new Uint8Array(lengths.length * checksumSize).map((_, i) => (i * 7 + byte) & 255),
      checksumSize,
    };
  });

/** Three chunks of 4096 bytes, the last one short. */
function smallTable(): ChunkTable {
  return {
    version: 1,
    uncompressedSize: 10_000,
    chunkSize: 4096,
    hashAlgorithm: 'sha512',
    offsets: Float64Array.of(0, 100, 200, 300),
    checksums: new Uint8Array(192).fill(9),
    checksumSize: 64,
  };
}

/** The small table's payload after `change`. */
function changed(change: (payload: Buffer) => void): Buffer {
  const payload = serializeChunkTable(smallTable());
  change(payload);
  return payload;
}

describe('chunk table', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(tables, (table) => {
        const payload = serializeChunkTable(table);
        expect(parseChunkTableHeader(payload.subarray(0, 23)).payloadSize).toBe(payload.length);
        expect(parseChunkTable(payload, table.offsets.at(-1)!)).toEqual(table);
      }),
    );
  });

  it('lays out the header as the format says', () => {
    const payload = serializeChunkTable({
      ...smallTable(),
      uncompressedSize: 0,
      offsets: Float64Array.of(0),
      checksums: new Uint8Array(),
    });
    const header = ['67ece4cd', '01000000', '00'.repeat(8), '00100000', '01', '0000'];
    expect(payload.toString('hex')).toBe(header.join(''));
  });

  it('is at most as long as a skippable frame can be', () => {
    // 536870909 entries of 8 bytes behind the header make 2^32 - 1 bytes.
    const header = (chunks: bigint) =>
      changed((payload) => {
        payload.writeBigUInt64LE(chunks * 4096n, 8);
        payload.writeUInt8(0, 20);
      }).subarray(0, 23);
    expect(parseChunkTableHeader(header(536_870_909n)).payloadSize).toBe(0xffff_ffff);
    expect(() => parseChunkTableHeader(header(536_870_910n))).toThrow(
      refusal('CORRUPT', 'more than a skippable frame holds'),
    );
  });

  it.each<[string, (payload: Buffer) => void]>([
    ['magic is 0xcde4ec00', (p) => p.writeUInt8(0, 0)],
    ['version is 0', (p) => p.writeUInt32LE(0, 4)],
    ['version is 2', (p) => p.writeUInt32LE(2, 4)],
    ['chunk size is 0', (p) => p.writeUInt32LE(0, 16)],
    ['hash algorithm is 2', (p) => p.writeUInt8(2, 20)],
    ['reserved field is 256', (p) => p.writeUInt8(1, 22)],
    ['uncompressed size is 9007199254740992', (p) => p.writeBigUInt64LE(2n ** 53n, 8)],
    ['uncompressed size is 18446744073709551615', (p) => p.writeBigUInt64LE(2n ** 64n - 1n, 8)],
    ['payload has 239 bytes', (p) => p.writeBigUInt64LE(8192n, 8)],
    ['payload has 239 bytes', (p) => p.writeBigUInt64LE(12289n, 8)],
    ['payload has 239 bytes', (p) => p.writeUInt8(0, 20)],
    ['more than a skippable frame holds', (p) => p.writeBigUInt64LE((3n + 2n ** 32n) * 4096n, 8)],
    ['more than a skippable frame holds', (p) => p.writeBigUInt64LE((3n + 2n ** 29n) * 4096n, 8)],
    ['offset of entry 0 is 1', (p) => p.writeBigUInt64LE(1n, 23)],
    ['offset of entry 1 is 0', (p) => p.writeBigUInt64LE(0n, 95)],
    ['offset of entry 2 is 100', (p) => p.writeBigUInt64LE(100n, 167)],
    ['offset of entry 2 is 300', (p) => p.writeBigUInt64LE(300n, 167)],
    ['offset of entry 1 is 9223372036854775808', (p) => p.writeBigUInt64LE(2n ** 63n, 95)],
  ])('refuses: %s', (text, change) => {
    expect(() => parseChunkTable(changed(change), 300, 'layer')).toThrow(refusal('CORRUPT', text));
  });

  it('refuses every length but its own', () => {
    const payload = serializeChunkTable(smallTable());
    for (const length of [0, 3, 22, 23, 94, payload.length - 1]) {
      expect(() => parseChunkTable(payload.subarray(0, length), 300, 'layer')).toThrow(
        refusal('CORRUPT', `${length} bytes`),
      );
    }
    expect(() => parseChunkTable(Buffer.concat([payload, Buffer.alloc(1)]), 300)).toThrow(
      refusal('CORRUPT', '240 bytes'),
    );
  });

  it('refuses bytes before a table without entries', () => {
    const payload = serializeChunkTable({
      ...smallTable(),
      uncompressedSize: 0,
      offsets: Float64Array.of(0),
      checksums: new Uint8Array(),
    });
    expect(parseChunkTable(payload, 0).offsets).toEqual(Float64Array.of(0));
    expect(() => parseChunkTable(payload, 9)).toThrow(refusal('CORRUPT', 'no entries'));
  });

  it('takes no offset that is none', () => {
    const payload = serializeChunkTable(smallTable());
    for (const offset of [-1, 0.5, NaN, 2 ** 53]) {
      expect(() => parseChunkTable(payload, offset)).toThrow(refusal('USAGE', 'no offset'));
    }
  });

  it.each<[string, Partial<ChunkTable>]>([
    ['no uncompressed size', { uncompressedSize: -1 }],
    ['no uncompressed size', { uncompressedSize: 2 ** 53 }],
    ['no chunk size', { chunkSize: 0 }],
    ['no chunk size', { chunkSize: 2 ** 32 }],
    ["doesn't go with", { checksumSize: 0 }],
    ['4 offsets', { uncompressedSize: 4096 }],
    ['191 bytes', { checksums: new Uint8Array(191) }],
    ['entry 0 is 1', { offsets: Float64Array.of(1, 100, 200, 300) }],
    ['not beyond 100', { offsets: Float64Array.of(0, 100, 100, 300) }],
    ['no safe integer', { offsets: Float64Array.of(0, 100, NaN, 300) }],
    ['no safe integer', { offsets: Float64Array.of(0, 100, 200.5, 300) }],
  ])('writes no table with %s', (text, part) => {
    expect(() => serializeChunkTable({ ...smallTable(), ...part })).toThrow(refusal('USAGE', text));
  });

  it('only ever fails with its own error', () => {
    const good = serializeChunkTable(smallTable());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(400),
        (edits, end) => {
          const payload = Buffer.from(good);
          for (const [at, byte] of edits) payload[at] = byte;
          try {
            expect(serializeChunkTable(parseChunkTable(payload, end)).equals(payload)).toBe(true);
          } catch (error) {
            expect(error).toEqual(refusal('CORRUPT'));
          }
        },
      ),
    );
  });
});
