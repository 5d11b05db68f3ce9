import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { ChunkIndex } from '../../src/format/chunk-index';
import { parseChunkIndex, parseChunkIndexHeader, serializeChunkIndex } from '../../src/format/chunk-index';
import { refusal } from '../support/refusal';

function risingFrom0(lengths: number[]): Float64Array {
  const offsets = new Float64Array(lengths.length + 1);
  lengths.forEach((length, i) => (offsets[i + 1] = offsets[i]! + length));
  return offsets;
}

/** Any index that can be written. */
const indexes: fc.Arbitrary<ChunkIndex> = fc
  .record({
    lengths: fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 1, max: 2 ** 40 })), {
      maxLength: 40,
    }),
    compression: fc.constantFrom<ChunkIndex['compression'][]>('none', 'zstd'),
    checksumSize: fc.constantFrom<ChunkIndex['checksumSize'][]>(0, 32, 64),
    byte: fc.nat(255),
  })
  .map(({ lengths, compression, checksumSize, byte }) => {
    const starts = risingFrom0(lengths.map(([length]) => length));
    const offsets = compression === 'none' ? starts : risingFrom0(lengths.map(([, length]) => length));
    const checksums = new Uint8Array(lengths.length * checksumSize).map((_, i) => (i * 7 + byte) & 255);
    return { uncompressedSize: starts.at(-1)!, compression, offsets, starts, checksums, checksumSize };
  });

function smallIndex(compression: ChunkIndex['compression'] = 'zstd'): ChunkIndex {
  const starts = Float64Array.of(0, 4096, 5000, 9000);
  const offsets = compression === 'none' ? starts : Float64Array.of(0, 100, 200, 300);
  return {
    uncompressedSize: 9000,
    compression,
    offsets,
    starts,
    checksums: new Uint8Array(96).fill(9),
    checksumSize: 32,
  };
}

/** The small index's bytes after `change`. */
function changed(change: (payload: Buffer) => void, compression?: ChunkIndex['compression']): Buffer {
  const payload = serializeChunkIndex(smallIndex(compression));
  change(payload);
  return payload;
}

describe('chunk index', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(indexes, (index) => {
        const payload = serializeChunkIndex(index);
        expect(parseChunkIndexHeader(payload.subarray(0, 32)).payloadSize).toBe(payload.length);
        expect(parseChunkIndex(payload, index.offsets.at(-1)!)).toEqual(index);
      }),
    );
  });

  it('lays out header and entries as the format says', () => {
    const index = { ...smallIndex(), uncompressedSize: 4096, checksums: new Uint8Array(32).fill(0xab) };
    const payload = serializeChunkIndex({
      ...index,
      starts: Float64Array.of(0, 4096),
      offsets: Float64Array.of(0, 77),
    });
    const header = [
      'cde4ec67',
      '01',
      '01',
      '0000',
      '0010000000000000',
      '01000000',
      '01',
      '20',
      '00'.repeat(10),
    ];
    expect(payload.toString('hex')).toBe([...header, '00'.repeat(16), 'ab'.repeat(32)].join(''));
  });

  it.each<[string, (payload: Buffer) => void]>([
    ['version is 2', (p) => p.writeUInt8(2, 4)],
    ['compression type is 2', (p) => p.writeUInt8(2, 5)],
    ['flags are 0x100', (p) => p.writeUInt16LE(0x100, 6)],
    ['hash family is 2', (p) => p.writeUInt8(2, 20)],
  ])('falls back to reading without it: %s', (text, change) => {
    expect(() => parseChunkIndex(changed(change), 300, 'index')).toThrow(
      refusal('UNSUPPORTED', `index: ${text}`),
    );
  });

  it.each<[string, (payload: Buffer) => void]>([
    ['magic is 0x67ece400', (p) => p.writeUInt8(0, 0)],
    ["hash size 20 doesn't go", (p) => p.writeUInt8(20, 21)],
    ["hash size 0 doesn't go", (p) => p.writeUInt8(0, 21)],
    ["hash size 32 doesn't go", (p) => p.writeUInt8(0, 20)],
    ['reserved bytes are 00000000000000000001', (p) => p.writeUInt8(1, 31)],
    ['uncompressed size is 9007199254740992', (p) => p.writeBigUInt64LE(2n ** 53n, 8)],
    ['payload has 176 bytes', (p) => p.writeUInt32LE(2, 16)],
    ['payload has 176 bytes', (p) => p.writeUInt32LE(0xffff_ffff, 16)],
    ['payload has 176 bytes', (p) => p.writeUInt8(64, 21)],
    ['offset of entry 0 is 8', (p) => p.writeUInt8(8, 32)],
    ['offset of entry 2 is 100', (p) => p.writeBigUInt64LE(100n, 128)],
    ['offset of entry 2 is 300', (p) => p.writeBigUInt64LE(300n, 128)],
    ['uncompressed offset of entry 0 is 8', (p) => p.writeUInt8(8, 40)],
    ['uncompressed offset of entry 2 is 4096', (p) => p.writeBigUInt64LE(4096n, 136)],
    ['uncompressed offset of entry 2 is 9000', (p) => p.writeBigUInt64LE(9000n, 136)],
    ['uncompressed offset of entry 1 is 9223372036854775808', (p) => p.writeBigUInt64LE(2n ** 63n, 88)],
    ['uncompressed offset of entry 2 is 5000', (p) => p.writeBigUInt64LE(5000n, 8)],
  ])('refuses: %s', (text, change) => {
    expect(() => parseChunkIndex(changed(change), 300, 'index')).toThrow(
      refusal('CORRUPT', `index: ${text}`),
    );
  });

  it('ends the last chunk of a raw layer with the image data, not with the index', () => {
    const payload = serializeChunkIndex(smallIndex('none'));
    expect(parseChunkIndex(payload, 9100)).toEqual(smallIndex('none'));
    expect(() => parseChunkIndex(payload, 8999)).toThrow(refusal('CORRUPT', 'ends at 8999'));
    const moved = changed((p) => p.writeBigUInt64LE(4097n, 80), 'none');
    expect(() => parseChunkIndex(moved, 9000)).toThrow(
      refusal('CORRUPT', 'offset of entry 1 is 4097 in a raw layer'),
    );
  });

  it.each<[string, Partial<ChunkIndex>]>([
    ['4 offsets, but 3', { starts: Float64Array.of(0, 4096, 9000) }],
    ['no number of chunks', { starts: new Float64Array() }],
    ['95 bytes', { checksums: new Uint8Array(95) }],
    ["doesn't end at 9001", { uncompressedSize: 9001 }],
    ['no safe integer', { offsets: Float64Array.of(0, 1.5, 2, 3) }],
    ['not beyond 100', { offsets: Float64Array.of(0, 100, 100, 300) }],
    ['not beyond 5000', { starts: Float64Array.of(0, 5000, 5000, 9000) }],
    ['in a raw layer', { compression: 'none' }],
  ])('writes no index with %s', (text, part) => {
    expect(() => serializeChunkIndex({ ...smallIndex(), ...part })).toThrow(refusal('USAGE', text));
  });

  it('refuses a header that is cut short', () => {
    const payload = serializeChunkIndex(smallIndex());
    for (const length of [0, 31]) {
      expect(() => parseChunkIndex(payload.subarray(0, length), 300)).toThrow(
        refusal('CORRUPT', `${length} bytes`),
      );
    }
  });

  it('takes no end that is none', () => {
    expect(() => parseChunkIndex(serializeChunkIndex(smallIndex()), NaN)).toThrow(refusal('USAGE', 'no end'));
  });

  it('only ever fails with its own error', () => {
    const good = serializeChunkIndex(smallIndex());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(400),
        (edits, end) => {
          const payload = Buffer.from(good);
          for (const [at, byte] of edits) payload[at] = byte;
          try {
            expect(serializeChunkIndex(parseChunkIndex(payload, end)).equals(payload)).toBe(true);
          } catch (error) {
            expect(['CORRUPT', 'UNSUPPORTED']).toContain((error as { code?: string }).code);
          }
        },
      ),
    );
  });
});
