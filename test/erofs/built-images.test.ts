import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { openErofs } from '../../src/erofs/filesystem';
import { buildErofs } from '../../src/layer/build';
import { openFileSource } from '../../src/source/file';
import { MemorySource } from '../support/memory-source';
import { goldenFile, recordedTree } from './erofs-images';
import { listing } from './listing';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'built-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

it('reads what build makes of a tar', async () => {
  const [tar, image] = [join(folder, 'ref.tar'), join(folder, 'ref.erofs')];
  writeFileSync(tar, goldenFile('ref.tar'));
  const built = await buildErofs(tar, image);
  const source = await openFileSource(image);
  try {
    const filesystem = await openErofs(source);
    expect(filesystem.info.inodes).toBe(BigInt(built.inodes));
    // Made of the same tar by another builder, and shown by a kernel.
    expect(await listing(filesystem)).toEqual(recordedTree('meta-first-inline.tree.json'));
  } finally {
    await source.close();
  }
});

it('lists a built image by reading its front alone', async () => {
  const image = new MemorySource(readFileSync(join(folder, 'ref.erofs')));
  const filesystem = await openErofs(image);
  for await (const { inode } of filesystem.walk()) {
    if (inode.type === 'symlink') await filesystem.readlink(inode);
  }
  expect(image.bytesRead).toBeLessThan(image.size / 2);
});
