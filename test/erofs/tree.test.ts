import { describe, expect, it } from 'vitest';

import { Directory } from '../../src/erofs/directory';
import { openErofs, type ErofsFilesystem } from '../../src/erofs/filesystem';
import { refusal } from '../support/refusal';
import { directoryData, modes, Sketch, type InodeSketch } from './sketch';

async function paths(filesystem: ErofsFilesystem, from?: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of filesystem.walk(from)) found.push(path.toString());
  return found;
}

const { root } = Sketch;
const file = {};

describe('walk', () => {
  it('goes by the bytes of whole paths', async () => {
    const sketch = new Sketch()
      .directory(root, 1, [
        ['a', 40],
        ['a!', 41],
        ['a!b', 50],
        ['a-b', 51],
        ['a0', 52],
        ['b', 53],
      ])
      .directory(40, 2, [['x', 54]])
      .directory(41, 3, [['y', 55]]);
    for (let nid = 50; nid <= 55; nid++) sketch.inode(nid, file);
    const filesystem = await sketch.open();
    const found = await paths(filesystem);
    expect(found).toEqual(['/', '/a', '/a!', '/a!/y', '/a!b', '/a-b', '/a/x', '/a0', '/b']);
    expect(found).toEqual([...found].sort());
    expect(await paths(filesystem, '/a!/../a/')).toEqual(['/a', '/a/x']);
    expect(await paths(filesystem, '/a0')).toEqual(['/a0']);
  });

  it.each([
    ['an entry for the directory itself', new Sketch().directory(root, 1, [['self', root]])],
    [
      'an entry for a directory above',
      new Sketch().directory(root, 1, [['d', 40]]).directory(40, 2, [['up', root]]),
    ],
    [
      'two names for one directory',
      new Sketch()
        .directory(root, 1, [
          ['a', 40],
          ['b', 40],
        ])
        .directory(40, 2, []),
    ],
  ])('refuses %s', async (_, sketch) => {
    await expect(paths(await sketch.open())).rejects.toEqual(refusal('CORRUPT', 'twice'));
  });

  it('refuses directories that share their blocks', async () => {
    // 60 directories over one list of 4 blocks: each is legal, all of them are a bomb.
    const names = Array.from({ length: 60 }, (_, index): [string, number] => [`d${index + 10}`, 40 + index]);
    const sketch = new Sketch(6).directory(root, 1, names);
    const shared = directoryData(
      Array.from({ length: 300 }, (_, index): [string, number] => [`${index + 1000}`.repeat(9), 120]),
    );
    shared.copy(sketch.bytes, 2 * 4096);
    for (const [, nid] of names) sketch.inode(nid, { mode: modes.dir, size: shared.length, u: 2 });
    sketch.inode(120, file);
    await expect(paths(await sketch.open())).rejects.toEqual(refusal('CORRUPT', 'more bytes than the image'));
  });

  it('ends when it is cancelled', async () => {
    const controller = new AbortController();
    const sketch = new Sketch()
      .directory(root, 1, [
        ['a', 40],
        ['b', 41],
      ])
      .directory(40, 2, [])
      .directory(41, 3, []);
    const filesystem = await openErofs(sketch.source(), { signal: controller.signal });
    const walk = filesystem.walk();
    await walk.next();
    await walk.next();
    controller.abort();
    await expect(walk.next()).rejects.toEqual(refusal('CANCELLED'));
  });
});

describe('directories', () => {
  it.each([
    ['a slash', [['a/b', 40]]],
    [
      'a NUL',
      [
        ['a\0b', 40],
        ['c', 40],
      ],
    ],
    [
      'no name',
      [
        ['', 40],
        ['c', 40],
      ],
    ],
    ['only a NUL', [['\0', 40]]],
    ['256 bytes', [['n'.repeat(256), 40]]],
    [
      'a name twice',
      [
        ['n', 40],
        ['n', 41],
      ],
    ],
    [
      'a name twice, apart',
      [
        ['n', 40],
        ['m', 40],
        ['n', 41],
      ],
    ],
  ] as [string, [string, number][]][])('refuses names with %s', async (_, entries) => {
    const sketch = new Sketch().directory(root, 1, entries).inode(40, file).inode(41, file);
    const filesystem = await sketch.open();
    await expect(filesystem.readdir('/')).rejects.toEqual(refusal('CORRUPT'));
    await expect(filesystem.stat('/zzz')).rejects.toEqual(refusal('CORRUPT'));
  });

  it.each([0, 1, 11, 13, 24, 4092, 65535])('refuses names that begin at %i of a block', async (start) => {
    const sketch = new Sketch().directory(root, 1, [['a', 40]]);
    sketch.bytes.writeUInt16LE(start, 4096 + 8);
    await expect((await sketch.open()).readdir('/')).rejects.toEqual(refusal('CORRUPT', 'begin at'));
  });

  it.each([64, 128])('refuses a name that ends behind its block, of %i bytes in all', (length) => {
    // Three dirents; the second name goes from byte 40 to 70 of a block of 64, the third begins there.
    const data = Buffer.alloc(length, 'n');
    [36, 40, 70].forEach((nameAt, index) => data.writeUInt16LE(nameAt, 12 * index + 8));
    directoryData([['x', 40]]).copy(data, 64);
    const parse = () => Directory.parse(data, 64, (why) => new Error(why));
    expect(parse).toThrow('entry 1 of its block at 0 has a name of 30 bytes');
  });

  it.each([
    ['backwards', 10],
    ['nowhere', 0],
    ['beyond the block', 5000],
  ])('refuses names that go %s', async (_, start) => {
    const sketch = new Sketch().directory(root, 1, [
      ['a', 40],
      ['b', 40],
      ['c', 40],
    ]);
    sketch.bytes.writeUInt16LE(start, 4096 + 12 + 8);
    await expect((await sketch.open()).readdir('/')).rejects.toEqual(refusal('CORRUPT', 'a name of'));
  });

  it('sorts a directory that is not, and finds its names', async () => {
    const entries = ['c', 'a', 'b', '..', 'A', '.'].map((name, index): [string, number] => [
      name,
      40 + index,
    ]);
    const sketch = new Sketch().directory(root, 1, entries);
    for (const [, nid] of entries) sketch.inode(nid, file);
    const filesystem = await sketch.open();
    const listed = await filesystem.readdir('/');
    expect(listed.map(({ name, inode }) => [name.toString(), inode.nid])).toEqual([
      ['A', 44n],
      ['a', 41n],
      ['b', 42n],
      ['c', 40n],
    ]);
    for (const { name, inode } of listed) expect((await filesystem.stat(name)).nid).toBe(inode.nid);
  });

  describe('of more than 64 KiB', () => {
    const names = Array.from({ length: 5000 }, (_, index) => `name-${String(index).padStart(6, '0')}`);
    function large(order: string[]): Sketch {
      const sketch = new Sketch(64).inode(40, file);
      return sketch.directory(
        root,
        1,
        order.map((name) => [name, 40]),
      );
    }

    it('finds a name by few reads', async () => {
      const sketch = large(names);
      const source = sketch.source();
      const filesystem = await openErofs(source);
      expect((await filesystem.stat('/name-000000')).nid).toBe(40n);
      expect((await filesystem.stat(`/${names[1]!}`)).nid).toBe(40n);
      expect(source.bytesRead).toBeLessThan(sketch.bytes.length);
      for (const name of names) await filesystem.stat(name);
      await expect(filesystem.stat('/name-0000005')).rejects.toEqual(refusal('NOT_FOUND'));
    });

    it('looks a name up in the directory itself', async () => {
      const sketch = large(names);
      const source = sketch.source();
      const filesystem = await openErofs(source);
      const directory = await filesystem.lstat('/');
      expect((await filesystem.lookup(directory, Buffer.from('name-004321')))?.nid).toBe(40n);
      expect(source.bytesRead).toBeLessThan(sketch.bytes.length);
      for (const name of ['name-005000', 'a', 'z', '', '.', '..', 'name-004321/']) {
        expect(await filesystem.lookup(directory, Buffer.from(name)), name).toBeUndefined();
      }
      await expect(filesystem.lookup('/name-000000', Buffer.from('x'))).rejects.toEqual(refusal('FAILED'));
    });

    it('finds a name that is out of place', async () => {
      const filesystem = await large([...names.slice(2500), ...names.slice(0, 2500)]).open();
      for (const name of ['name-000000', 'name-002499', 'name-002500', 'name-004999']) {
        expect((await filesystem.stat(name)).nid).toBe(40n);
      }
      const listed = await filesystem.readdir('/');
      expect(listed.map(({ name }) => name.toString())).toEqual(names);
    });
  });

  it('refuses a directory larger than the image', async () => {
    const sketch = new Sketch().inode(root, { mode: modes.dir, size: 0xffff_fff0, u: 1 });
    await expect((await sketch.open()).readdir('/')).rejects.toEqual(refusal('CORRUPT', 'in an image of'));
  });

  it('refuses an entry whose inode is not in the image', async () => {
    const filesystem = await new Sketch().directory(root, 1, [['a', (1n << 62n) + 1n]]).open();
    await expect(filesystem.readdir('/')).rejects.toEqual(refusal('CORRUPT', 'it would be at'));
    const metabox = await new Sketch().directory(root, 1, [['a', (1n << 63n) + 40n]]).open();
    await expect(metabox.readdir('/')).rejects.toEqual(refusal('CORRUPT', 'metabox'));
  });
});

describe('paths', () => {
  /** Inodes with a body, a target or a tail, take two slots. */
  function linked(): Sketch {
    const tail = (text: string): InodeSketch => ({ size: 1, layout: 'inline', body: Buffer.from(text) });
    return new Sketch()
      .directory(root, 1, [
        ['a', 40],
        ['abs', 42],
        ['d', 44],
        ['down', 46],
        ['empty', 48],
        ['loop', 50],
        ['out', 52],
      ])
      .directory(44, 2, [
        ['f', 54],
        ['sub', 56],
      ])
      .directory(56, 3, [['up', 58]])
      .inode(40, tail('A'))
      .inode(54, tail('F'))
      .inode(48, { mode: modes.symlink })
      .symlink(42, '/d/f')
      .symlink(46, 'd/sub')
      .symlink(50, 'loop')
      .symlink(52, '../../../../../../a')
      .symlink(58, '../f');
  }

  it.each([
    ['/a', 'A'],
    ['a', 'A'],
    ['//./a', 'A'],
    ['/../../a', 'A'],
    ['/d/../a', 'A'],
    ['/out', 'A'],
    ['/abs', 'F'],
    ['/down/up', 'F'],
    ['/down/../f', 'F'],
    ['/d/sub/up', 'F'],
  ])('%s is found inside of the image', async (path, content) => {
    expect((await (await linked().open()).readFile(path)).toString()).toBe(content);
  });

  it('tells links from what they lead to', async () => {
    const filesystem = await linked().open();
    expect((await filesystem.lstat('/down')).type).toBe('symlink');
    expect((await filesystem.lstat('/down/')).type).toBe('dir');
    expect((await filesystem.stat('/down')).type).toBe('dir');
    expect((await filesystem.readlink('/out')).toString()).toBe('../../../../../../a');
    expect((await filesystem.realpath('/down/up')).toString()).toBe('/d/f');
    expect((await filesystem.realpath('/..')).toString()).toBe('/');
  });

  it.each([
    ['/nothing', 'NOT_FOUND'],
    ['/a/x', 'NOT_FOUND'],
    ['/a/', 'NOT_FOUND'],
    ['/a/..', 'NOT_FOUND'],
    ['/empty', 'NOT_FOUND'],
    ['/loop', 'FAILED'],
    ['/d', 'FAILED'],
  ] as const)('cannot read %s', async (path, code) => {
    await expect((await linked().open()).readFile(path)).rejects.toEqual(refusal(code));
  });

  it('are followed through 40 symbolic links, not through 41', async () => {
    const names = Array.from({ length: 42 }, (_, index): [string, number] => [
      `l${index + 10}`,
      40 + 2 * index,
    ]);
    const sketch = new Sketch().directory(root, 1, names).inode(40 + 2 * 41, file);
    for (const [index, [, nid]] of names.slice(0, 41).entries()) sketch.symlink(nid, names[index + 1]![0]);
    const filesystem = await sketch.open();
    expect((await filesystem.realpath('/l11')).toString()).toBe('/l51');
    await expect(filesystem.realpath('/l10')).rejects.toEqual(refusal('FAILED', 'more than 40 symlinks'));
  });

  it('refuses targets that no kernel would show', async () => {
    const sketch = new Sketch(4).directory(root, 1, [
      ['fits', 44],
      ['long', 40],
      ['nul', 42],
    ]);
    sketch.inode(40, { mode: modes.symlink, size: 4096, u: 2 }).symlink(42, 'a\0b');
    sketch.inode(44, { mode: modes.symlink, size: 4095, u: 2 });
    sketch.bytes.fill('x', 2 * 4096, 3 * 4096);
    const filesystem = await sketch.open();
    expect(await filesystem.readlink('/fits')).toHaveLength(4095);
    await expect(filesystem.readlink('/long')).rejects.toEqual(refusal('CORRUPT'));
    await expect(filesystem.stat('/nul')).rejects.toEqual(refusal('CORRUPT', 'NUL'));
  });

  it('takes an inode for a path, but only one of its own', async () => {
    const [one, other] = [await linked().open(), await linked().open()];
    const inode = await one.stat('/a');
    expect((await one.readFile(inode)).toString()).toBe('A');
    await expect(other.readFile(inode)).rejects.toEqual(refusal('USAGE'));
  });
});
