import { describe, expect, it } from 'vitest';

import { crc32c } from '../../src/erofs/crc32c';
import { openErofs } from '../../src/erofs/filesystem';
import { MemorySource } from '../support/memory-source';
import { refusal } from '../support/refusal';
import { goldenFile } from './erofs-images';
import { modes, Sketch } from './sketch';

/** Where a field of the superblock lies in an image. */
const at = (offset: number): number => 1024 + offset;

function rooted(): Sketch {
  return new Sketch().directory(Sketch.root, 1, []);
}

/** An image with an empty root directory, changed by `change`. */
function changed(change: (bytes: Buffer) => void): Sketch {
  const sketch = new Sketch().inode(Sketch.root, { mode: modes.dir });
  change(sketch.bytes);
  return sketch;
}

describe('crc32c', () => {
  it('is the known one but for the last inversion', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(~0xe3069283 >>> 0);
  });
});

describe('superblock', () => {
  it('opens the smallest image', async () => {
    const filesystem = await changed(() => undefined).open();
    expect(await filesystem.readdir('/')).toEqual([]);
    expect((await filesystem.stat('/')).nid).toBe(36n);
  });

  it('refuses what is no image', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(1100), Buffer.alloc(8192)]) {
      await expect(openErofs(new MemorySource(bytes))).rejects.toEqual(refusal('CORRUPT', 'no EROFS image'));
    }
  });

  it.each([
    ['block size 8192', 'UNSUPPORTED', (b: Buffer) => b.writeUInt8(13, at(12))],
    ['block size 256', 'CORRUPT', (b: Buffer) => b.writeUInt8(8, at(12))],
    ['an unknown feature', 'UNSUPPORTED', (b: Buffer) => b.writeUInt32LE(0x200, at(80))],
    ['the last feature bit', 'UNSUPPORTED', (b: Buffer) => b.writeUInt32LE(0x80000000, at(80))],
    ['large directory blocks', 'UNSUPPORTED', (b: Buffer) => b.writeUInt8(1, at(90))],
    ['a long superblock', 'CORRUPT', (b: Buffer) => b.writeUInt8(255, at(13))],
    ['a root that is a file', 'CORRUPT', (b: Buffer) => b.writeUInt16LE(modes.file, 36 * 32 + 4)],
    ['a root outside of the image', 'CORRUPT', (b: Buffer) => b.writeUInt16LE(0xffff, at(14))],
    [
      'a root in a metabox that is not there',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt32LE(0x80, at(80));
        b.writeBigUInt64LE((1n << 63n) | 36n, at(112));
      },
    ],
    [
      'a metabox inside of itself',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt32LE(0x100, at(80));
        b.writeUInt8(1, at(13));
        b.writeBigUInt64LE((1n << 63n) | 36n, at(128));
      },
    ],
    [
      'a metabox that is a directory',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt32LE(0x100, at(80));
        b.writeUInt8(1, at(13));
        b.writeBigUInt64LE(36n, at(128));
        b.writeUInt16LE(modes.dir, 36 * 32 + 4);
      },
    ],
    ['a packed inode that is a directory', 'CORRUPT', (b: Buffer) => b.writeBigUInt64LE(36n, at(96))],
    [
      'an unknown algorithm',
      'UNSUPPORTED',
      (b: Buffer) => {
        b.writeUInt32LE(2, at(80));
        b.writeUInt16LE(0x10, at(84));
      },
    ],
    [
      'a short configuration',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt32LE(2, at(80));
        b.writeUInt16LE(2, at(84));
        b.writeUInt16LE(3, at(128));
      },
    ],
    [
      'a device table outside of the image',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt32LE(8, at(80));
        b.writeUInt16LE(1000, at(86));
      },
    ],
    [
      'xattr prefixes outside of the image',
      'CORRUPT',
      (b: Buffer) => {
        b.writeUInt8(1, at(91));
        b.writeUInt32LE(0xffffffff, at(92));
      },
    ],
  ] as const)('refuses %s', async (_, code, change) => {
    await expect(changed(change).open()).rejects.toEqual(refusal(code));
  });

  it('ignores unknown compatible features, and fields of features that are not there', async () => {
    await changed((bytes) => {
      bytes.writeUInt32LE(0xffffff00, at(8));
      bytes.writeUInt16LE(0xffff, at(86)); // devices
      bytes.writeUInt16LE(0xffff, at(88));
      bytes.writeUInt16LE(0xffff, at(84)); // compression
      bytes.writeBigUInt64LE(1n << 63n, at(112)); // long root number
    }).open();
  });

  it('checks the checksum where there is one', async () => {
    const sketch = rooted();
    await sketch.checksummed().open();
    sketch.bytes.writeUInt8(1, 3000);
    await expect(sketch.open()).rejects.toEqual(refusal('CORRUPT', 'checksum'));
    sketch.bytes.writeUInt32LE(0, at(8));
    await sketch.open();
  });

  it.each(['tar-b512', 'tar-b1024', 'tar-default'])(
    'finds a flipped bit in the first block of %s',
    async (name) => {
      const bytes = goldenFile(`${name}.erofs`);
      bytes[1024 + 50]! ^= 1;
      await expect(openErofs(new MemorySource(bytes))).rejects.toEqual(refusal('CORRUPT', 'checksum'));
    },
  );

  it('finds the root by its long number', async () => {
    const sketch = changed((bytes) => {
      bytes.writeUInt32LE(0x80, at(80));
      bytes.writeUInt16LE(1, at(14)); // now the upper half of the number of blocks
      bytes.writeBigUInt64LE(36n, at(112));
    });
    expect((await sketch.open()).info.blocks).toBe(2 ** 32 + 16);
  });
});
