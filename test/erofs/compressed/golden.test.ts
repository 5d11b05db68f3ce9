import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import type { CompressedContext, CompressedInode } from '../../../src/erofs/compressed/context';
import type { Extent } from '../../../src/erofs/compressed/extent';
import { openMap } from '../../../src/erofs/compressed/extent-map';
import { readMapHeader } from '../../../src/erofs/compressed/map-header';
import { openErofs } from '../../../src/erofs/filesystem';
import { openErofsImage } from '../../../src/erofs/open';
import { MemorySource } from '../../support/memory-source';
import { compressedImage, compressedImageNames, expectedSums } from './golden';

interface CompressedFile {
  path: string;
  context: CompressedContext;
  inode: CompressedInode;
}

/** The compressed files of an image, as their readers get them. */
async function compressedFiles(name: string): Promise<CompressedFile[]> {
  const source = new MemorySource(compressedImage(name));
  const { superblock, inodes } = await openErofsImage(source, {});
  const filesystem = await openErofs(source);
  const read = (offset: number, length: number): Promise<Buffer> => source.read(offset, length);
  const { blockSize, has48Bit, lz4ZeroPadding } = superblock;
  const context: CompressedContext = {
    name,
    blockSize,
    has48Bit,
    lz4ZeroPadding,
    readMetadata: read,
    readData: read,
    readFragment: read,
    algorithms: {
      available: 15,
      lz4: { maxDistance: 65535, maxClusterBlocks: 1 },
      lzma: { dictionarySize: 0, format: 0 },
      deflate: { windowBits: 0 },
      zstd: { format: 0, windowLog: 0 },
    },
  };
  const files: CompressedFile[] = [];
  for (const path of expectedSums().keys()) {
    const { nid, size } = await filesystem.stat(path);
    const { layout, bodyEnd } = await inodes.get(nid);
    if (layout !== 'full' && layout !== 'compact') continue;
    files.push({ path, context, inode: { layout, size, mapStart: bodyEnd, compressedBlocks: 0, nid } });
  }
  return files;
}

async function extentsOf({ context, inode }: CompressedFile): Promise<Extent[]> {
  const map = await openMap(context, inode);
  const extents: Extent[] = [];
  for (let at = 0; at < inode.size; at = extents.at(-1)!.end) extents.push(await map.extentAt(at));
  return extents;
}

/** What of the format a file makes use of. */
async function featuresOf(file: CompressedFile): Promise<string[]> {
  const header = await readMapHeader(file.context, file.inode);
  const features: string[] = [];
  if (header.kind === 'fragment') return ['whole fragment'];
  if (header.kind === 'extents') features.push(`records of ${header.recordSize}`);
  if (header.kind === 'clusters')
    features.push(`${file.inode.layout}${header.compact2B ? ' with 2 bytes' : ''}`);
  for (const { source } of await extentsOf(file)) {
    if (source.kind !== 'encoded') features.push(source.kind);
    if (source.kind !== 'encoded') continue;
    features.push(source.format);
    if (source.area === 'metadata') features.push('inline tail');
    if (source.length > file.context.blockSize) features.push('many blocks');
    if (header.kind === 'extents' && source.partial) features.push('partial');
  }
  return features;
}

describe('compressed images of mkfs.erofs', () => {
  const sums = expectedSums();

  it.each(compressedImageNames())('%s reads as the kernel reads it', async (name) => {
    const filesystem = await openErofs(new MemorySource(compressedImage(name)));
    for (const [path, sum] of sums) {
      const bytes = await filesystem.readFile(path);
      expect(createHash('sha256').update(bytes).digest('hex'), path).toBe(sum);
    }
  });

  it.each(compressedImageNames())('%s: any part of a file is that part of the whole', async (name) => {
    const source = new MemorySource(compressedImage(name));
    const filesystem = await openErofs(source);
    for (const path of ['/mixed', '/big', '/text-after-random', '/tiny/8193']) {
      const whole = await filesystem.readFile(path);
      const steps = [1, 511, 4096, 5000, 12289, 70001];
      for (let start = whole.length - 1, turn = 0; start >= 0; start -= steps[turn++ % steps.length]!) {
        const length = Math.min(whole.length - start, steps[(turn * 5 + 2) % steps.length]!);
        const part = await filesystem.read(path, start, length);
        expect(part.equals(whole.subarray(start, start + length)), `${path} ${start} ${length}`).toBe(true);
      }
    }
  });

  it('the extents of a file follow each other, from wherever they are looked up', async () => {
    for (const name of compressedImageNames()) {
      for (const file of await compressedFiles(name)) {
        const map = await openMap(file.context, file.inode);
        let end = 0;
        for (const extent of await extentsOf(file)) {
          expect(extent.start, `${name} ${file.path}`).toBe(end);
          for (const at of [extent.end - 1, (extent.start + extent.end) >> 1]) {
            expect(await map.extentAt(at)).toEqual(extent);
          }
          ({ end } = extent);
        }
        expect(end).toBe(file.inode.size);
      }
    }
  });

  it('have between them what mkfs.erofs can write', async () => {
    const seen = new Set<string>();
    for (const name of compressedImageNames()) {
      for (const file of await compressedFiles(name)) {
        for (const feature of await featuresOf(file)) seen.add(feature);
      }
    }
    const formats = ['lz4', 'lzma', 'deflate', 'zstd', 'plain', 'interlaced'];
    const maps = ['full', 'compact with 2 bytes', 'records of 4', 'records of 16'];
    const rest = ['whole fragment', 'fragment', 'inline tail', 'many blocks', 'partial'];
    expect([...seen].sort()).toEqual([...formats, ...maps, ...rest].sort());
  });
});
