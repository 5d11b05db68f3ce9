import { describe, expect, it } from 'vitest';

import { createCompressedReader } from '../../../src/erofs/compressed/reader';
import { advise, blockSize, mapHeader, numberedBlocks, SyntheticImage } from './synthetic';

interface Extent {
  start: number;
  length: number;
  physical: number;
  /** 0 = stored, n = algorithm n - 1. */
  format?: number;
  partial?: boolean;
}

/** A map of extent records, of 4, 8, 16 or 32 bytes (`sizeBits` 0..3). */
function recordMap(sizeBits: number, extents: Extent[], { clusterBits = 0, bits = 0 } = {}): Buffer {
  const size = 4 << sizeBits;
  const isEven = sizeBits < 2;
  const header = mapHeader({
    first: isEven ? 0 : extents.length,
    advise: advise.extents | (sizeBits << 1) | bits,
    clusterBits: isEven ? clusterBits : 0,
  });
  const records = extents.map(({ start, length, physical, format = 0, partial = false }) => {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32LE((length | (format << 28) | (partial ? 1 << 27 : 0)) >>> 0, 0);
    bytes.writeUInt32LE(physical % 2 ** 32, 4);
    bytes.writeUInt32LE(Math.floor(physical / 2 ** 32), 8);
    bytes.writeUInt32LE(start % 2 ** 32, 12);
    bytes.writeUInt32LE(Math.floor(start / 2 ** 32), 16);
    return bytes.subarray(0, size);
  });
  const first = Buffer.alloc(sizeBits === 0 ? 8 : 0);
  if (sizeBits === 0) first.writeBigUInt64LE(BigInt(extents[0]!.physical));
  const start = Math.ceil(8 / size) * size;
  return Buffer.concat([header, Buffer.alloc(start - 8), first, ...records]);
}

function file(size: number, map: Buffer, data: Buffer = numberedBlocks(8)) {
  const image = new SyntheticImage(map, data);
  return { image, reader: createCompressedReader(image, image.inode(size)) };
}

describe('extent records', () => {
  it.each([2, 3])('of 2^%d words: extents anywhere, of any length, and holes', async (sizeBits) => {
    const extents = [
      { start: 0, length: 10, physical: 5000 },
      { start: 10, length: 0, physical: 0 },
      { start: 300, length: 8000, physical: 123 },
    ];
    const { image, reader } = file(8300, recordMap(sizeBits, extents));
    const { data } = image;
    const whole = Buffer.concat([data.subarray(5000, 5010), Buffer.alloc(290), data.subarray(123, 8123)]);
    expect(await reader.read(0, 8300)).toEqual(whole);
    expect(await reader.read(299, 2)).toEqual(whole.subarray(299, 301));
    expect(await reader.read(8299, 1)).toEqual(whole.subarray(8299));
  });

  it('of 32 bytes reach beyond 4 GiB', async () => {
    const far = 3 * 2 ** 32 + 5;
    const extents = [
      { start: 0, length: 0, physical: 0 },
      { start: far, length: 100, physical: 7 },
    ];
    const { image, reader } = file(far + 100, recordMap(3, extents));
    expect(await reader.read(far - 3, 5)).toEqual(Buffer.from([0, 0, 0, image.data[7]!, image.data[8]!]));
  });

  it('a file begins with a hole when no record is about its beginning', async () => {
    const { image, reader } = file(200, recordMap(2, [{ start: 100, length: 100, physical: 9 }]));
    expect(await reader.read(98, 4)).toEqual(Buffer.from([0, 0, image.data[9]!, image.data[10]!]));
  });

  it('of 8 bytes: one for each logical cluster', async () => {
    const extents = [
      { start: 0, length: 8192, physical: 777 },
      { start: 0, length: 0, physical: 0 },
      { start: 0, length: 5, physical: 20000 },
    ];
    const { image, reader } = file(2 * 8192 + 5, recordMap(1, extents, { clusterBits: 1 }));
    const { data } = image;
    const whole = Buffer.concat([
      data.subarray(777, 777 + 8192),
      Buffer.alloc(8192),
      data.subarray(20000, 20005),
    ]);
    expect(await reader.read(0, whole.length)).toEqual(whole);
  });

  it('of 4 bytes: bytes that follow each other, however many', async () => {
    const data = numberedBlocks(3001);
    const extents = Array.from({ length: 3000 }, () => ({ start: 0, length: blockSize, physical: 99 }));
    const { reader } = file(3000 * blockSize, recordMap(0, extents), data);
    for (const position of [2999 * blockSize + 5, 0, 1024 * blockSize - 1, 2047 * blockSize]) {
      expect(await reader.read(position, 100)).toEqual(data.subarray(99 + position, 199 + position));
    }
  });

  it('the last one can be a fragment', async () => {
    const extents = [
      { start: 0, length: 10, physical: 5 },
      { start: 10, length: 33, physical: 0 },
    ];
    const { image, reader } = file(1000, recordMap(2, extents, { bits: advise.fragment }));
    image.fragments = numberedBlocks(1);
    expect(await reader.read(8, 4)).toEqual(
      Buffer.concat([image.data.subarray(13, 15), image.fragments.subarray(33, 35)]),
    );
  });

  it('of one start but different ends are CORRUPT, whichever is read first', async () => {
    const extents = [0, 5, 0].map((start) => ({ start, length: 1000, physical: 0 }));
    const { image, reader } = file(1000, recordMap(2, extents));
    expect(await reader.read(2, 1)).toEqual(image.data.subarray(2, 3));
    await expect(reader.read(7, 1)).rejects.toMatchObject({
      code: 'CORRUPT',
      why: 'its extent at byte 0 has more than one end',
    });
  });

  it.each([
    ['out of order', [0, 500, 100, 50], 1, 60],
    ['longer than what is stored', [0, 3], 1, 1],
    ['above 1 MiB', [0], (1 << 20) + 1, 5],
    ['beyond the image', [0], 40000, 5],
  ])('%s is CORRUPT', async (_, starts, length, position) => {
    const extents = starts.map((start) => ({ start, length, physical: 0 }));
    const { reader } = file(1000, recordMap(2, extents));
    await expect(reader.read(position, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('a large cluster for each byte is refused before long', async () => {
    const data = Buffer.alloc(1 << 20);
    const extents = Array.from({ length: 50000 }, (_, start) => ({ start, length: 1 << 20, physical: 0 }));
    const { image, reader } = file(50000, recordMap(2, extents), data);
    await expect(reader.read(0, 50000)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(image.dataReads.length).toBeLessThan(100);
    expect(await reader.read(0, 20)).toEqual(Buffer.alloc(20));
  });
});
