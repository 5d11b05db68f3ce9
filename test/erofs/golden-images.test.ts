import { describe, expect, it } from 'vitest';

import type { Segment } from '../../src/erofs/data';
import { openErofs, type ErofsFilesystem } from '../../src/erofs/filesystem';
import { MemorySource } from '../support/memory-source';
import { goldenFile, goldenImages, recordedTree } from './erofs-images';
import { digestOf, listing } from './listing';

/** Of the same tree, made with `-m`; see golden/erofs-metabox/README.md. */
const metaboxImages = ['metabox-lz4.erofs', 'metabox-fragments.erofs', 'metabox-prefixes.erofs'];

async function open(name: string): Promise<ErofsFilesystem> {
  const devices = name === 'tar-index512.erofs' ? [new MemorySource(goldenFile('ref.tar'))] : [];
  return openErofs(new MemorySource(goldenFile(name)), { devices });
}

describe('images of mkfs.erofs', () => {
  it.each(goldenImages().filter(({ tree }) => tree !== undefined))(
    '$name shows what the kernel shows',
    async ({ name, tree }) => {
      expect(await listing(await open(name))).toEqual(recordedTree(tree));
    },
  );

  it.each(goldenImages().filter(({ tree }) => tree !== undefined))(
    '$name: any part of a file is that part of the whole',
    async ({ name }) => {
      const filesystem = await open(name);
      for await (const { inode } of filesystem.walk()) {
        if (inode.type !== 'file') continue;
        const whole = await filesystem.readFile(inode);
        expect(whole).toHaveLength(inode.size);
        for (const [from, to] of [
          [0, 1],
          [0.3, 0.4],
          [0.9, 1],
          [0.5, 2],
        ] as const) {
          const [start, end] = [Math.floor(from * whole.length), Math.floor(to * whole.length)];
          const part = await filesystem.read(inode, start, end - start);
          expect(part.equals(whole.subarray(start, end))).toBe(true);
        }
      }
    },
  );

  it.each(metaboxImages)('%s, whose inodes are compressed, shows the same', async (name) => {
    // Such images have 48-bit features: mkfs.erofs cuts the same times as in the image with these alone.
    expect(await listing(await open(name))).toEqual(recordedTree('tar-48bit.tree.json'));
  });

  it('reads a file of 5 GiB of holes by its holes', async () => {
    const filesystem = await open('dir-5g-holes-chunk1m.erofs');
    const { files } = goldenImages().find(({ name }) => name === 'dir-5g-holes-chunk1m.erofs')!;
    const five = await filesystem.stat('/five');
    expect(five.size).toBe(files!['/five']!.size);
    expect(await digestOf(filesystem, '/small')).toBe(files!['/small']!.sha256);
    const segments: Segment[] = [];
    for await (const segment of filesystem.segments(five)) segments.push(segment);
    expect(segments.map(({ hole }) => hole)).toContain(true);
    expect(segments.reduce((sum, { length }) => sum + length, 0)).toBe(five.size);
    const data = segments.filter(({ hole }) => !hole);
    expect(data.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(2 ** 31);
    for (const { offset, length } of data) {
      const ends = await filesystem.read(five, offset + length - 1, 1);
      expect(ends).toHaveLength(1);
    }
    await expect(filesystem.readFile(five)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('says what the superblock says', async () => {
    const { info } = await open('tar-label-nosbcrc.erofs');
    expect(info).toMatchObject({ blockSize: 4096, inodes: 240n, blocks: 147, epoch: 1700000000n });
    expect(info.volumeName.toString()).toBe('mylabel');
    expect(info.uuid.toString('hex')).toBe('00112233445566778899aabbccddeeff');
  });

  it('reads an index with its tar appended, as one image', async () => {
    const index = goldenFile('tar-index512.erofs');
    const whole = Buffer.concat([index, goldenFile('ref.tar')]);
    const filesystem = await openErofs(new MemorySource(whole));
    expect(await listing(filesystem)).toEqual(recordedTree());
  });

  it('says which devices are missing', async () => {
    const index = new MemorySource(goldenFile('tar-index512.erofs'));
    const filesystem = await openErofs(index);
    await expect(filesystem.readFile('/big')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const plain = new MemorySource(goldenFile('tar-default.erofs'));
    await expect(openErofs(plain, { devices: [index] })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
