import { describe, expect, it } from 'vitest';

import type { ErofsInode } from '../../src/erofs/inode';
import { refusal } from '../support/refusal';
import { modes, Sketch, type InodeSketch } from './sketch';

/** The inode of `/f`. */
async function inodeOf(sketch: InodeSketch, change?: (bytes: Buffer) => void): Promise<ErofsInode> {
  const image = new Sketch().directory(Sketch.root, 1, [['f', 40]]).inode(40, sketch);
  change?.(image.bytes);
  return (await image.open()).lstat('/f');
}

describe('inodes', () => {
  it.each([
    ['layout 5', { formatBits: 10 }, 'UNSUPPORTED'],
    ['a format bit that is not known', { formatBits: 0x20 }, 'UNSUPPORTED'],
    ['the last format bit', { formatBits: 0x8000 }, 'UNSUPPORTED'],
    ['no type', { mode: 0o644 }, 'CORRUPT'],
    ['an unknown type', { mode: 0o30644 }, 'CORRUPT'],
    ['a negative size', { extended: true, size: 1n << 63n }, 'CORRUPT'],
    ['a size that numbers cannot hold', { extended: true, size: 1n << 53n }, 'UNSUPPORTED'],
    ['a second of nanoseconds', { extended: true, nanoseconds: 1e9 }, 'CORRUPT'],
  ] as [string, InodeSketch, 'CORRUPT'][])('with %s are refused', async (_, sketch, code) => {
    await expect(inodeOf(sketch)).rejects.toEqual(refusal(code, 'inode 40'));
  });

  it('at the very end of the image are read if they are whole', async () => {
    const last = 16 * 128 - 1;
    const sketch = new Sketch().directory(Sketch.root, 1, [['f', last]]).inode(last, {});
    expect((await (await sketch.open()).stat('/f')).type).toBe('file');
    sketch.bytes.writeUInt16LE(1, last * 32); // now twice as long
    await expect((await sketch.open()).stat('/f')).rejects.toEqual(refusal('CORRUPT', 'ends inside'));
  });

  it('know times of 64 bits', async () => {
    for (const mtime of [-2n, 0n, 5_000_000_000n, -(1n << 63n)]) {
      const { mtime: read } = await inodeOf({ extended: true, mtime, nanoseconds: 999_999_999 });
      expect(read).toEqual({ seconds: mtime, nanoseconds: 999_999_999 });
    }
  });

  it('count compact times from the epoch', async () => {
    const { mtime } = await inodeOf({ mtime: 0xffff_ffffn }, (bytes) => {
      bytes.writeBigInt64LE(-86400n, 1024 + 24);
      bytes.writeUInt32LE(7, 1024 + 32);
    });
    expect(mtime).toEqual({ seconds: 0xffff_ffffn - 86400n, nanoseconds: 7 });
  });

  it('take bit 4 of a compact one for a link count of 1, except in directories', async () => {
    expect((await inodeOf({ high: 5 })).nlink).toBe(5);
    expect((await inodeOf({ high: 5, formatBits: 0x10 })).nlink).toBe(1);
    expect((await inodeOf({ high: 5, formatBits: 0x10, mode: modes.dir })).nlink).toBe(5);
  });

  it('have device numbers of 12 and 20 bits', async () => {
    const { rdev, type } = await inodeOf({ mode: modes.char, u: 0xfffabc12 });
    expect([type, rdev]).toEqual(['char', { major: 0xabc, minor: 0xfff12 }]);
    expect((await inodeOf({ mode: modes.fifo, u: 5 })).rdev).toBeNull();
  });
});
