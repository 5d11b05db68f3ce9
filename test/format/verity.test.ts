import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { DigestAlgorithm } from '../../src/format/digest';
import type { VeritySuperblock } from '../../src/format/verity-superblock';
import {
  checkSuperblockFits,
  formatUuid,
  isVerityBlockSize,
  parseVeritySuperblock,
  serializeVeritySuperblock,
} from '../../src/format/verity-superblock';
import { verityLevels, verityPayloadSize, verityTreeSize } from '../../src/format/verity-tree-size';
import { refusal } from '../support/refusal';

/** A payload by veritysetup's rules, with a salt. */
const salted = readFileSync(join(__dirname, '..', 'golden', 'verity', 'payload-sha256-1024-65-salt.bin'));

const blockSizes = fc.integer({ min: 9, max: 19 }).map((bits) => 2 ** bits);
const superblocks: fc.Arbitrary<VeritySuperblock> = fc.record({
  hashType: fc.constant(1 as const),
  uuid: fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((uuid) => uuid.some((byte) => byte > 0)),
  algorithm: fc.constantFrom<DigestAlgorithm[]>('sha256', 'sha512'),
  dataBlockSize: blockSizes,
  hashBlockSize: blockSizes,
  dataBlocks: fc.integer({ min: 1, max: 2 ** 33 }),
  salt: fc.uint8Array({ maxLength: 256 }),
});

function changed(change: (block: Buffer) => void): Buffer {
  const block = Buffer.from(salted.subarray(0, 512));
  change(block);
  return block;
}

describe('dm-verity superblock', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(superblocks, (superblock) => {
        const block = serializeVeritySuperblock(superblock);
        expect(block.length).toBe(512);
        expect(parseVeritySuperblock(block)).toEqual(superblock);
      }),
    );
  });

  it('reads and writes that of cryptsetup', () => {
    const superblock = parseVeritySuperblock(salted);
    expect(superblock).toMatchObject({
      algorithm: 'sha256',
      dataBlockSize: 1024,
      hashBlockSize: 1024,
      dataBlocks: 65,
    });
    expect(formatUuid(superblock.uuid)).toBe('11111111-2222-3333-4444-555555555555');
    expect(Buffer.from(superblock.salt).toString('hex')).toMatch(/^a0a1.*bebf$/);
    expect(serializeVeritySuperblock(superblock).equals(salted.subarray(0, 512))).toBe(true);
  });

  it.each<[string, (block: Buffer) => void]>([
    ['signature is 7665726974790001', (b) => b.writeUInt8(1, 7)],
    ['version is 2', (b) => b.writeUInt32LE(2, 8)],
    ['hash type is 0', (b) => b.writeUInt32LE(0, 12)],
    ['hash type is 2', (b) => b.writeUInt32LE(2, 12)],
    ['hash algorithm is "sha1"', (b) => b.write('sha1\0\0', 32)],
    ['hash algorithm is ""', (b) => b.fill(0, 32, 64)],
    ['hash algorithm is "sha256\\u0000x"', (b) => b.write('x', 39)],
    ['data block size is 0', (b) => b.writeUInt32LE(0, 64)],
    ['data block size is 256', (b) => b.writeUInt32LE(256, 64)],
    ['data block size is 1536', (b) => b.writeUInt32LE(1536, 64)],
    ['data block size is 1073741824', (b) => b.writeUInt32LE(2 ** 30, 64)],
    ['hash block size is 0', (b) => b.writeUInt32LE(0, 68)],
    ['hash block size is 1048576', (b) => b.writeUInt32LE(2 ** 20, 68)],
    ['number of data blocks is 0', (b) => b.writeBigUInt64LE(0n, 72)],
    ['number of data blocks is 9007199254740992', (b) => b.writeBigUInt64LE(2n ** 53n, 72)],
    ['9007199254740991 data blocks of 1024 bytes', (b) => b.writeBigUInt64LE(2n ** 53n - 1n, 72)],
    ['salt size is 257', (b) => b.writeUInt16LE(257, 80)],
    ['reserved bytes', (b) => b.writeUInt8(1, 82)],
    ['reserved bytes', (b) => b.writeUInt8(1, 343)],
    ['reserved bytes', (b) => b.writeUInt8(1, 511)],
  ])('refuses: %s', (text, change) => {
    expect(() => parseVeritySuperblock(changed(change), 'payload')).toThrow(
      refusal('CORRUPT', `payload: ${text}`),
    );
  });

  it('refuses fewer than 512 bytes', () => {
    expect(() => parseVeritySuperblock(salted.subarray(0, 511))).toThrow(refusal('CORRUPT', '511 bytes'));
    expect(() => parseVeritySuperblock(new Uint8Array())).toThrow(refusal('CORRUPT', '0 bytes'));
  });

  it.each<[string, Partial<VeritySuperblock>]>([
    ['UUID is missing', { uuid: new Uint8Array(16) }],
    ['UUID is missing', { uuid: new Uint8Array(15).fill(1) }],
    ['salt has 257 bytes', { salt: new Uint8Array(257) }],
    ['data blocks is 0', { dataBlocks: 0 }],
    ['data block size is 4095', { dataBlockSize: 4095 }],
  ])('writes none: %s', (text, part) => {
    const superblock = { ...parseVeritySuperblock(salted), ...part };
    expect(() => serializeVeritySuperblock(superblock)).toThrow(refusal('USAGE', text));
  });

  it('must fit the data and the root digest', () => {
    const superblock = parseVeritySuperblock(salted);
    const check = (dataSize: number, rootDigest: string) => (): void => {
      checkSuperblockFits(superblock, { dataSize, rootDigest });
    };
    const sha256 = `sha256:${'0'.repeat(64)}`;
    check(64 * 1024 + 1, sha256)();
    check(65 * 1024, sha256)();
    expect(check(65 * 1024 + 1, sha256)).toThrow(
      refusal('MISMATCH', '65 data blocks of 1024 bytes, but 66561 bytes'),
    );
    expect(check(64 * 1024, sha256)).toThrow(refusal('MISMATCH', 'make 64'));
    expect(check(65 * 1024, `sha512:${'0'.repeat(128)}`)).toThrow(refusal('MISMATCH', 'algorithm is sha256'));
  });

  it('has block sizes as the kernel has', () => {
    const legal = Array.from({ length: 600_000 }, (_, size) => size).filter(isVerityBlockSize);
    expect(legal).toEqual([512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288]);
  });
});

describe('dm-verity tree', () => {
  // Levels and payloads as veritysetup and go-dmverity make them.
  it.each<[DigestAlgorithm, number, number, number[], number]>([
    ['sha256', 4096, 1, [], 4096],
    ['sha256', 4096, 2, [1], 8192],
    ['sha256', 4096, 129, [1, 2], 16_384],
    ['sha256', 4096, 16_385, [1, 2, 129], 544_768],
    ['sha256', 1024, 65, [1, 3], 5120],
    ['sha256', 512, 4097, [1, 2, 17, 257], 142_336],
    ['sha512', 4096, 64, [1], 8192],
    ['sha512', 4096, 65, [1, 2], 16_384],
    ['sha512', 4096, 4097, [1, 2, 65], 282_624],
    ['sha512', 1024, 16_385, [1, 5, 65, 1025], 1_123_328],
    ['sha512', 512, 1, [], 512],
    ['sha512', 512, 16_385, [1, 5, 33, 257, 2049], 1_201_152],
    ['sha512', 4096, 262_144, [1, 64, 4096], 4096 + 17_043_456],
  ])('%s, blocks of %d bytes, %d of data', (algorithm, hashBlockSize, dataBlocks, levels, payload) => {
    const shape = { algorithm, hashBlockSize, dataBlocks };
    expect(verityLevels(shape)).toEqual(levels);
    expect(verityPayloadSize(shape)).toBe(payload);
  });

  it('is exact at the largest sizes, or refused', () => {
    const dataBlocks = Number.MAX_SAFE_INTEGER;
    // 2^53 - 1 divided by 2^13 digests a block, then rounded up.
    expect(verityLevels({ algorithm: 'sha512', hashBlockSize: 524_288, dataBlocks })).toEqual([
      1,
      2 ** 1,
      2 ** 14,
      2 ** 27,
      2 ** 40,
    ]);
    const tooMuch = { algorithm: 'sha512', hashBlockSize: 512, dataBlocks } as const;
    expect(() => verityTreeSize(tooMuch)).toThrow(refusal('UNSUPPORTED', 'beyond 2^53 - 1'));
  });
});
