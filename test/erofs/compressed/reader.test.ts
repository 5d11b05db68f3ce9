import { describe, expect, it } from 'vitest';
import { deflateRawSync } from 'node:zlib';

import { createCompressedReader } from '../../../src/erofs/compressed/reader';
import { blockSize, fullMap, head, nonhead, numberedBlocks, padded, SyntheticImage } from './synthetic';

const extentBlocks = 4;

/** `count` extents of 4 blocks of content, each in one block of DEFLATE. */
function deflated(count: number) {
  const content = numberedBlocks(count * extentBlocks);
  const entries: Buffer[] = [];
  const data: Buffer[] = [];
  for (let index = 0; index < count; ++index) {
    const start = index * extentBlocks * blockSize;
    data.push(padded(deflateRawSync(content.subarray(start, start + extentBlocks * blockSize))));
    entries.push(head(1, 0, index), nonhead(1), nonhead(2), nonhead(3));
  }
  const image = new SyntheticImage(fullMap({ algorithms: 2 }, entries), Buffer.concat(data));
  return { content, image, reader: createCompressedReader(image, image.inode(content.length)) };
}

describe('a reader of a compressed file', () => {
  it('decodes an extent once, however small the reads', async () => {
    const { content, image, reader } = deflated(3);
    for (let position = 0; position < content.length; position += 1000) {
      const length = Math.min(1000, content.length - position);
      const part = await reader.read(position, length);
      expect(part.equals(content.subarray(position, position + length))).toBe(true);
    }
    expect(image.dataReads).toHaveLength(3);
  });

  it('fetches neighbours together', async () => {
    const { content, image, reader } = deflated(40);
    expect((await reader.read(0, content.length)).equals(content)).toBe(true);
    expect(image.dataReads).toEqual([{ offset: 0, length: 40 * blockSize }]);
  });

  it('fetches no more than the extents that are asked for', async () => {
    const { content, image, reader } = deflated(10);
    const position = 2 * extentBlocks * blockSize + 5;
    expect(await reader.read(position, 10)).toEqual(content.subarray(position, position + 10));
    expect(image.dataReads).toEqual([{ offset: 2 * blockSize, length: blockSize }]);
  });

  it('decodes an extent once for readers at the same time', async () => {
    const { content, image, reader } = deflated(1);
    const parts = await Promise.all([0, 100, 5000, 9000].map((position) => reader.read(position, 50)));
    expect(Buffer.concat(parts)).toEqual(
      Buffer.concat([0, 100, 5000, 9000].map((position) => content.subarray(position, position + 50))),
    );
    expect(image.dataReads).toHaveLength(1);
  });

  it('what it returns may be written to', async () => {
    const { content, reader } = deflated(1);
    (await reader.read(0, 100)).fill(0xee);
    expect(await reader.read(0, 100)).toEqual(content.subarray(0, 100));
  });

  it('tries again after a fault of the source', async () => {
    const { content, image, reader } = deflated(2);
    for (const failing of ['metadata', 'data'] as const) {
      image.failing = failing;
      await expect(reader.read(0, 10)).rejects.toMatchObject({ code: 'IO' });
    }
    image.failing = undefined;
    expect(await reader.read(0, 10)).toEqual(content.subarray(0, 10));
  });

  it('LZ4 without padding in front is decoded as far as the extent reaches', async () => {
    const block = Buffer.concat([Buffer.from('60414243444546', 'hex'), Buffer.alloc(blockSize - 7, 0xaa)]);
    const image = new SyntheticImage(fullMap({}, [head(1, 0, 0)]), block);
    image.lz4ZeroPadding = false;
    expect(await createCompressedReader(image, image.inode(6)).read(0, 6)).toEqual(Buffer.from('ABCDEF'));
  });

  it('a block of zeros is no compressed data', async () => {
    const image = new SyntheticImage(fullMap({ algorithms: 2 }, [head(1, 0, 0)]), Buffer.alloc(blockSize));
    await expect(createCompressedReader(image, image.inode(6)).read(0, 6)).rejects.toMatchObject({
      code: 'CORRUPT',
    });
  });
});
