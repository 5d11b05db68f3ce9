import { describe, expect, it } from 'vitest';

import type { Segment } from '../../src/erofs/data';
import { openErofs, type ErofsFilesystem } from '../../src/erofs/filesystem';
import { refusal } from '../support/refusal';
import { Sketch, type InodeSketch } from './sketch';

const blockSize = 4096;

/** An image of which `/f` is as said; every byte of block n is n, but for metadata in blocks 0, 1 and 15. */
async function imageOf(sketch: InodeSketch, change?: (bytes: Buffer) => void): Promise<ErofsFilesystem> {
  const image = new Sketch();
  for (let block = 2; block < 16; block++)
    image.bytes.fill(block, block * blockSize, (block + 1) * blockSize);
  image.directory(Sketch.root, 15, [['f', 40]]).inode(40, sketch);
  change?.(image.bytes);
  return image.open();
}

/** The bytes as runs, e.g. `4096x2 10x3`. */
function runs(bytes: Buffer): string {
  const found: [number, number][] = [];
  for (const byte of bytes) {
    const last = found.at(-1);
    if (last?.[1] === byte) last[0]++;
    else found.push([1, byte]);
  }
  return found.map(([count, byte]) => `${count}x${byte}`).join(' ');
}

async function segmentsOf(filesystem: ErofsFilesystem): Promise<Segment[]> {
  const found: Segment[] = [];
  for await (const segment of filesystem.segments('/f')) found.push(segment);
  return found;
}

/** A map of 4-byte entries, and one of 8-byte entries [upper half, device, lower half]. */
function shortMap(...blocks: number[]): Buffer {
  return Buffer.from(Uint32Array.from(blocks).buffer);
}
function longMap(...entries: [number, number, number][]): Buffer {
  return Buffer.concat(
    entries.map(([high, device, low]) => {
      const entry = Buffer.alloc(8);
      entry.writeUInt16LE(high, 0);
      entry.writeUInt16LE(device, 2);
      entry.writeUInt32LE(low, 4);
      return entry;
    }),
  );
}
const hole = 0xffff_ffff;

describe('plain files', () => {
  it('are rows of blocks', async () => {
    const filesystem = await imageOf({ size: blockSize + 10, u: 5 });
    expect(runs(await filesystem.readFile('/f'))).toBe('4096x5 10x6');
    expect(runs(await filesystem.read('/f', 4090, 8))).toBe('6x5 2x6');
    expect(await filesystem.read('/f', 5000, 8)).toHaveLength(0);
    expect(await segmentsOf(filesystem)).toEqual([{ offset: 0, length: blockSize + 10, hole: false }]);
  });

  it('may be empty', async () => {
    const filesystem = await imageOf({ u: hole });
    expect(await filesystem.readFile('/f')).toHaveLength(0);
    expect(await segmentsOf(filesystem)).toEqual([]);
  });

  it('may be one hole', async () => {
    const filesystem = await imageOf({ size: 9000, u: hole });
    expect(runs(await filesystem.readFile('/f'))).toBe('9000x0');
    expect(await segmentsOf(filesystem)).toEqual([{ offset: 0, length: 9000, hole: true }]);
  });

  it('have upper bits of addresses only where the format says so', async () => {
    await expect(
      (await imageOf({ size: 1, u: 5, high: 1, formatBits: 0x10 })).readFile('/f'),
    ).rejects.toEqual(refusal('CORRUPT'));
    expect(runs(await (await imageOf({ size: 1, u: 5, high: 1 })).readFile('/f'))).toBe('1x5');
    expect(runs(await (await imageOf({ size: 1, u: 5, high: 1, extended: true })).readFile('/f'))).toBe(
      '1x5',
    );
    const wide = await imageOf({ size: 1, u: 5, high: 1, extended: true }, (bytes) =>
      bytes.writeUInt32LE(0x80, 1024 + 80),
    );
    await expect(wide.readFile('/f')).rejects.toEqual(refusal('CORRUPT'));
  });

  it.each([
    ['begin', { size: 1, u: 16 }],
    ['end', { size: 2 * blockSize + 1, u: 14 }],
    ['end, huge,', { size: (1n << 53n) - 1n, u: 2, extended: true }],
  ] as [string, InodeSketch][])('that %s beyond the image show, but cannot be read', async (_, sketch) => {
    const filesystem = await imageOf(sketch);
    expect((await filesystem.stat('/f')).size).toBe(Number(sketch.size));
    const whole = filesystem.readFile('/f', { maxSize: Infinity });
    await expect(whole).rejects.toEqual(refusal('CORRUPT', 'not inside'));
    await expect(segmentsOf(filesystem)).rejects.toEqual(refusal('CORRUPT', 'not inside'));
  });

  it('are not read whole beyond a limit', async () => {
    const filesystem = await imageOf({ size: 100, u: 2 });
    await expect(filesystem.readFile('/f', { maxSize: 99 })).rejects.toEqual(
      refusal('UNSUPPORTED', '100 bytes'),
    );
    expect(await filesystem.readFile('/f', { maxSize: 100 })).toHaveLength(100);
    const holes = await imageOf({ size: 0xffff_0000, u: hole });
    await expect(holes.readFile('/f')).rejects.toEqual(refusal('UNSUPPORTED'));
  });

  it.each([-1, 0.5, NaN, Infinity])('cannot be read %d bytes long', async (length) => {
    const filesystem = await imageOf({ size: 100, u: 2 });
    if (length === Infinity) expect(await filesystem.read('/f', 90, length)).toHaveLength(10);
    else await expect(filesystem.read('/f', 0, length)).rejects.toEqual(refusal('USAGE'));
  });
});

describe('inline files', () => {
  const body = Buffer.from('tail');

  it('end behind their inode', async () => {
    const filesystem = await imageOf({ size: 2 * blockSize + 4, u: 7, layout: 'inline', body });
    expect(runs(await filesystem.readFile('/f'))).toBe('4096x7 4096x8 1x116 1x97 1x105 1x108');
    expect((await filesystem.read('/f', 2 * blockSize + 1, 2)).toString()).toBe('ai');
    expect(await segmentsOf(filesystem)).toEqual([{ offset: 0, length: 2 * blockSize + 4, hole: false }]);
  });

  it('that were read can be written to without harm', async () => {
    const filesystem = await imageOf({ size: 4, layout: 'inline', body });
    (await filesystem.readFile('/f')).fill(0);
    expect((await filesystem.readFile('/f')).toString()).toBe('tail');
  });

  it('have a tail within one block', async () => {
    const filesystem = await imageOf({ size: blockSize - 41 * 32 + 1, layout: 'inline' });
    await expect(filesystem.readFile('/f')).rejects.toEqual(refusal('CORRUPT', 'crosses a block'));
    expect(
      await (await imageOf({ size: blockSize - 41 * 32, layout: 'inline' })).readFile('/f'),
    ).toHaveLength(2784);
  });
});

describe('chunks', () => {
  it('are where a map of blocks says', async () => {
    const filesystem = await imageOf({
      size: 4 * blockSize + 5,
      layout: 'chunks',
      u: 0,
      body: shortMap(3, 4, hole, 2, 9),
    });
    expect(runs(await filesystem.readFile('/f'))).toBe('4096x3 4096x4 4096x0 4096x2 5x9');
    expect(runs(await filesystem.read('/f', 8000, 300))).toBe('192x4 108x0');
    expect(await segmentsOf(filesystem)).toEqual([
      { offset: 0, length: 8192, hole: false },
      { offset: 8192, length: 4096, hole: true },
      { offset: 12288, length: 4101, hole: false },
    ]);
  });

  it('are read together where they lie together', async () => {
    const sketch = new Sketch(400).directory(Sketch.root, 1, [['f', 256]]);
    const map = shortMap(...Array.from({ length: 300 }, (_, index) => index + 16));
    const source = sketch.inode(256, { size: 300 * blockSize, layout: 'chunks', body: map }).source();
    const filesystem = await openErofs(source);
    await filesystem.stat('/f');
    const before = source.reads;
    expect(await filesystem.readFile('/f')).toHaveLength(300 * blockSize);
    expect(source.reads).toBe(before + 1);
  });

  it('of several blocks end with the file', async () => {
    const body = longMap([9, 9, 3], [0xffff, 0, hole], [0, 0, 6]);
    const filesystem = await imageOf({ size: 5 * blockSize, layout: 'chunks', u: 0x21, body });
    // Without devices and without 48-bit addresses, the other fields mean nothing.
    expect(runs(await filesystem.readFile('/f'))).toBe('4096x3 4096x4 8192x0 4096x6');
  });

  it('of 48 bits are holes only when all bits are ones', async () => {
    const at = (high: number, low: number): Promise<ErofsFilesystem> =>
      imageOf({ size: 1, layout: 'chunks', u: 0x60, body: longMap([high, 0, low]) });
    expect(runs(await (await at(0xffff, hole)).readFile('/f'))).toBe('1x0');
    expect(runs(await (await at(0, 3)).readFile('/f'))).toBe('1x3');
    await expect((await at(0, hole)).readFile('/f')).rejects.toEqual(refusal('CORRUPT'));
    await expect((await at(1, 3)).readFile('/f')).rejects.toEqual(refusal('CORRUPT'));
  });

  it.each([
    ['an unknown format', { size: 1, u: 0x80 }, 'UNSUPPORTED'],
    ['an unknown format in the upper bits', { size: 1, u: 0x100 }, 'UNSUPPORTED'],
    ['a map beyond the image', { size: (1n << 53n) - 1n, extended: true, u: 0 }, 'CORRUPT'],
    ['a chunk beyond the image', { size: 1, u: 0, body: shortMap(16) }, 'CORRUPT'],
  ] as [string, InodeSketch, 'CORRUPT'][])('with %s are refused', async (_, sketch, code) => {
    const filesystem = await imageOf({ ...sketch, layout: 'chunks' });
    await expect(filesystem.read('/f', 0, 1)).rejects.toEqual(refusal(code));
    await expect(segmentsOf(filesystem)).rejects.toEqual(refusal(code));
  });

  it('of 2^43 bytes may be holes', async () => {
    const filesystem = await imageOf({
      size: (1n << 53n) - 1n,
      extended: true,
      layout: 'chunks',
      u: 0x1f,
      body: Buffer.alloc(4096, 255),
    });
    expect(await segmentsOf(filesystem)).toEqual([{ offset: 0, length: 2 ** 53 - 1, hole: true }]);
    expect(runs(await filesystem.read('/f', 2 ** 52, 10))).toBe('10x0');
  });

  it('of an unknown device are refused', async () => {
    const withDevice = (device: number): Promise<ErofsFilesystem> =>
      imageOf({ size: 1, layout: 'chunks', u: 0x20, body: longMap([0, device, 3]) }, (bytes) => {
        bytes.writeUInt32LE(8, 1024 + 80);
        bytes.writeUInt16LE(2, 1024 + 86);
        bytes.writeUInt16LE(20, 1024 + 88); // the table is at byte 2560
        bytes.writeUInt32LE(1, 2560 + 68); // device 1 is at block 1 of the image itself
      });
    expect(runs(await (await withDevice(1)).readFile('/f'))).toBe('1x4');
    await expect((await withDevice(2)).readFile('/f')).rejects.toEqual(refusal('NOT_FOUND', 'device 2'));
    await expect((await withDevice(3)).readFile('/f')).rejects.toEqual(refusal('CORRUPT', 'device 3'));
    expect(runs(await (await withDevice(4)).readFile('/f'))).toBe('1x3'); // the kernel masks it to 0
  });
});

describe('streams', () => {
  async function streamed(
    filesystem: ErofsFilesystem,
    range: { start?: number; end?: number },
  ): Promise<string> {
    const pieces: Buffer[] = [];
    for await (const piece of filesystem.createReadStream('/f', range)) pieces.push(piece as Buffer);
    return runs(Buffer.concat(pieces));
  }

  it('go from the first byte to the last one named', async () => {
    const filesystem = await imageOf({ size: blockSize + 10, u: 5 });
    expect(await streamed(filesystem, {})).toBe('4096x5 10x6');
    expect(await streamed(filesystem, { start: 4095, end: 4096 })).toBe('1x5 1x6');
    expect(await streamed(filesystem, { start: 4100 })).toBe('6x6');
    expect(await streamed(filesystem, { start: 9000 })).toBe('');
    expect(await streamed(filesystem, { end: 0 })).toBe('1x5');
  });

  it('end with the error of the file', async () => {
    const filesystem = await imageOf({ size: 3 * blockSize, u: 14 });
    await expect(streamed(filesystem, {})).rejects.toEqual(refusal('CORRUPT'));
  });
});
