import { describe, expect, it } from 'vitest';
import { deflateRawSync } from 'node:zlib';

import { createCompressedReader } from '../../../src/erofs/compressed/reader';
import {
  advise,
  blockSize,
  fullMap,
  head,
  mapHeader,
  nonhead,
  numberedBlocks,
  padded,
  SyntheticImage,
  type Header,
} from './synthetic';

const types = { plain: 0, head1: 1, head2: 3 };

/** A file of a full index over numbered blocks. */
function file(size: number, header: Header, entries: Buffer[], data: Buffer = numberedBlocks(8)) {
  const image = new SyntheticImage(fullMap(header, entries), data);
  return { image, reader: createCompressedReader(image, image.inode(size)) };
}

describe('an index of logical clusters', () => {
  it('stored extents begin where their heads say', async () => {
    const { image, reader } = file(9000, {}, [head(0, 0, 3), head(0, 100, 1), head(0, 50, 5)]);
    const { data } = image;
    const starts = [3 * blockSize, blockSize, 5 * blockSize];
    // The first extent has 4196 bytes: more than its block.
    await expect(reader.read(0, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(await reader.read(4196, 4046)).toEqual(data.subarray(starts[1], starts[1]! + 4046));
    expect(await reader.read(8242, 758)).toEqual(data.subarray(starts[2], starts[2]! + 758));
  });

  it('HEAD2 uses the second algorithm, and its own flag for large clusters', async () => {
    const content = numberedBlocks(5);
    const stored = padded(deflateRawSync(content, { level: 1 }));
    const blocks = stored.length / blockSize;
    expect(blocks).toBe(1);
    const data = Buffer.concat([Buffer.alloc(blockSize), stored]);
    const header = { algorithms: 0x20, advise: advise.big2 };
    const count = nonhead(0x800 | blocks);
    const entries = [head(types.head2, 0, 1), count, nonhead(2), nonhead(3), nonhead(4)];
    const { reader } = file(content.length, header, entries, data);
    expect(await reader.read(0, content.length)).toEqual(content);
    const asHead1 = [head(types.head1, 0, 1), ...entries.slice(1)];
    const wrong = file(content.length, header, asHead1, data).reader;
    await expect(wrong.read(0, 10)).rejects.toMatchObject({ code: 'CORRUPT' }); // LZ4, by the low half
  });

  it('interlaced bytes lie where they would in the file', async () => {
    const { image, reader } = file(6000, { advise: advise.interlaced }, [head(0, 0, 1), head(0, 100, 2)]);
    const block = image.data.subarray(2 * blockSize, 3 * blockSize);
    // The extent at 4196 of the file begins at byte 100 of its block.
    expect(await reader.read(4196, 6000 - 4196)).toEqual(block.subarray(100, 100 + 6000 - 4196));
  });

  it('interlaced bytes wrap around', async () => {
    const entries = [head(0, 0, 1), head(0, 4000, 2), head(0, 3000, 3)];
    const { image, reader } = file(3 * blockSize, { advise: advise.interlaced }, entries);
    const block = image.data.subarray(2 * blockSize, 3 * blockSize);
    const expected = Buffer.concat([block.subarray(4000), block.subarray(0, 3000)]);
    expect(await reader.read(blockSize + 4000, 3096)).toEqual(expected);
  });

  it.each([
    ['a head in front of the file', [nonhead(1), head(0, 0, 1)], 0, {}],
    ['a distance of nothing', [head(1, 0, 1), nonhead(0)], 4096, {}],
    ['a distance to before the file', [head(1, 0, 1), nonhead(7)], 4096, {}],
    ['bytes in front of the first head', [head(0, 10, 1), head(0, 0, 2)], 5, {}],
    ['a head beyond its cluster', [head(0, 4096, 1), head(0, 0, 2)], 0, {}],
    ['a block count where each extent has one block', [head(1, 0, 1), nonhead(0x801)], 4096, {}],
    ['a large cluster without block count', [head(1, 0, 1), nonhead(1)], 0, { advise: advise.big1 }],
    ['a block count of nothing', [head(1, 0, 1), nonhead(0x800)], 0, { advise: advise.big1 }],
    ['a cluster beyond 1 MiB', [head(1, 0, 1), nonhead(0x800 | 257)], 0, { advise: advise.big1 }],
    ['an algorithm that the superblock lacks', [head(1, 0, 1), head(0, 0, 2)], 0, { algorithms: 1 }],
    ['an algorithm that does not exist', [head(1, 0, 1), head(0, 0, 2)], 0, { algorithms: 9 }],
    ['blocks beyond the image', [head(0, 0, 0xffffffff), head(0, 0, 2)], 0, {}],
    ['inline bytes across a block', [head(1, 0, 1), head(1, 0, 2)], 0, { advise: 8, first: 0xffff0000 }],
    ['a stored extent longer than its block', [head(0, 0, 1), nonhead(1)], 4096, {}],
  ] as const)('%s is CORRUPT', async (_, entries, position, header) => {
    const { reader } = file(5000, header, [...entries]);
    await expect(reader.read(position, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('an extent beyond 12 MiB is CORRUPT, and found to be so from a part of the index', async () => {
    const count = 100_000;
    const entries = [head(1, 0, 1), ...Array.from({ length: count - 1 }, () => nonhead(1))];
    const { image, reader } = file(count * blockSize, {}, entries);
    await expect(reader.read(0, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(image.metadataReads).toBeLessThan(10); // 4 KiB each
    await expect(reader.read((count - 1) * blockSize, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(image.metadataReads).toBeLessThan(80);
  });

  it('a map that is cut short is CORRUPT, however long the file claims to be', async () => {
    const { reader } = file(2 ** 52, {}, [head(0, 0, 1), head(0, 0, 2)]);
    await expect(reader.read(0, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
    await expect(reader.read(2 ** 51, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('a fragment tail has the high half of its place in its head, and any length', async () => {
    const header = { advise: advise.fragment, first: 500 };
    const entries = [head(0, 0, 1), head(1, 0, 0), nonhead(1), nonhead(2)];
    const { image, reader } = file(4 * blockSize, header, entries);
    image.fragments = numberedBlocks(5);
    expect(await reader.read(blockSize, 3 * blockSize)).toEqual(
      image.fragments.subarray(500, 500 + 3 * blockSize),
    );
    expect(await reader.read(4095, 2)).toEqual(
      Buffer.from([image.data[2 * blockSize - 1]!, image.fragments[500]!]),
    );
    const far = file(4 * blockSize, header, [head(0, 0, 1), head(1, 0, 1), nonhead(1), nonhead(2)]);
    const offsets: number[] = [];
    far.image.readFragment = async (offset, length) => {
      offsets.push(offset);
      return Buffer.alloc(length);
    };
    await far.reader.read(blockSize + 7, 1);
    expect(offsets).toEqual([2 ** 32 + 507]);
  });

  it('a whole file can be a fragment', async () => {
    const bytes = mapHeader({ first: 123, clusterBits: 0x80 });
    const image = new SyntheticImage(bytes);
    image.fragments = numberedBlocks(1);
    const reader = createCompressedReader(image, image.inode(1000));
    expect(await reader.read(5, 10)).toEqual(image.fragments.subarray(128, 138));
  });
});

describe('a compact index of 4-byte entries only', () => {
  /** Packs of two entries (type, value), each with its base block. */
  function packs(...list: [[number, number], [number, number], number][]): Buffer {
    return Buffer.concat(
      list.map(([[type0, value0], [type1, value1], base]) => {
        const bytes = Buffer.alloc(8);
        bytes.writeUInt16LE((type0 << 12) | value0, 0);
        bytes.writeUInt16LE((type1 << 12) | value1, 2);
        bytes.writeUInt32LE(base, 4);
        return bytes;
      }),
    );
  }

  function compact(size: number, header: Header, list: Buffer) {
    const image = new SyntheticImage(Buffer.concat([mapHeader(header), list]), numberedBlocks(8));
    return { image, reader: createCompressedReader(image, image.inode(size, 'compact')) };
  }

  it('blocks count from the base of the pack', async () => {
    const list = packs([[0, 0], [0, 0], 2], [[0, 0], [0, 96], 0]);
    const { image, reader } = compact(4 * blockSize, {}, list);
    const blocks = [3, 4, 1].map((block) => image.data.subarray(block * blockSize, (block + 1) * blockSize));
    const whole = Buffer.concat(blocks);
    expect(await reader.read(0, 2 * blockSize)).toEqual(whole.subarray(0, 2 * blockSize));
    await expect(reader.read(2 * blockSize, 1)).rejects.toMatchObject({ code: 'CORRUPT' }); // 4192 bytes in a block
    expect(await reader.read(3 * blockSize + 96, 10)).toEqual(
      image.data.subarray(2 * blockSize, 2 * blockSize + 10),
    );
  });

  it('no 2-byte entries for logical clusters above 4 KiB, none at all above 16 KiB', async () => {
    for (const [clusterBits, bits] of [
      [1, advise.compact2B],
      [3, 0],
    ] as const) {
      const { reader } = compact(100 * blockSize, { clusterBits, advise: bits }, Buffer.alloc(800));
      await expect(reader.read(0, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  });

  it('large clusters for one of two algorithms are CORRUPT', async () => {
    const { reader } = compact(2 * blockSize, { advise: advise.big1 }, Buffer.alloc(8));
    await expect(reader.read(0, 1)).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});
