import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openErofs } from '../../src/erofs/filesystem';
import { MergedTree } from '../../src/image/merged-tree';
import { extractImage } from '../../src/image/extract/extract';
import { listImage } from '../../src/image/list';
import { lookUp } from '../../src/erofs/tree-lookup';
import { walkTree } from '../../src/erofs/tree-walk';
import { convertImage } from '../../src/convert/image';
import { buildErofs } from '../../src/layer/build';
import { formatPlatform, hostPlatform } from '../../src/oci/platform';
import { titleOf, run, whyNoMounts } from '../conformance/support/machine';
import { writeLayout } from '../e2e/sample';
import { Sketch, modes } from '../erofs/sketch';
import { MemorySource } from '../support/memory-source';
import { refusal } from '../support/refusal';
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merged-tree-'));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const dir = (name: string, more: Partial<TarEntryBytes> = {}): TarEntryBytes => ({
  name,
  type: '5',
  mode: 0o755,
  ...more,
});

/** Three layers that do to each other all that layers can. */
const layers: TarEntryBytes[][] = [
  [
    dir('./', { mode: 0o711 }),
    dir('etc/', { mode: 0o750, uid: 5, mtime: '1600000000.5' }),
    { name: 'etc/hostname', content: 'lower\n', xattrs: { 'user.layer': '0' } },
    { name: 'etc/passwd', content: 'root\n' },
    { name: 'etc/link', type: '2', target: 'passwd' },
    dir('gone/'),
    { name: 'gone/a', content: 'a' },
    dir('opaque/'),
    { name: 'opaque/hidden', content: 'hidden' },
    dir('opaque/deep/'),
    { name: 'opaque/deep/hidden', content: 'hidden' },
    dir('twice/'),
    { name: 'twice/x', content: 'x' },
    dir('dir-to-file/'),
    { name: 'dir-to-file/x', content: 'x' },
    { name: 'file-to-dir', content: 'file' },
    dir('link-to-dir/'),
    { name: 'link-to-dir/lower', content: 'lower' },
    { name: 'hard1', content: 'linked', mode: 0o600 },
    { name: 'hard2', type: '1', target: 'hard1' },
    { name: 'caf\xe9', content: 'latin1' },
    { name: 'a-b', content: '' },
    dir('a/'),
    { name: 'a/b', content: '' },
    { name: 'pipe', type: '6' },
    { name: 'null', type: '3', device: [1, 3], mode: 0o666 },
    { name: 'sda', type: '4', device: [8, 257] },
  ],
  [
    dir('etc/', { mode: 0o700, mtime: '1650000000' }),
    { name: 'etc/.wh.passwd' },
    { name: 'etc/motd', content: 'middle\n' },
    { name: '.wh.gone' },
    dir('opaque/'),
    { name: 'opaque/.wh..wh..opq' },
    { name: 'opaque/shown', content: 'shown' },
    { name: '.wh.twice' },
    { name: 'dir-to-file', content: 'now a file' },
    dir('file-to-dir/'),
    { name: 'file-to-dir/x', content: 'x' },
    { name: 'link-to-dir', type: '2', target: 'etc' },
    { name: 'nothing/.wh.there' },
    { name: 'caf\xe9', content: 'latin1 again' },
  ],
  [
    { name: 'etc/hostname', content: 'upper\n' },
    { name: 'etc/passwd', content: 'back\n' },
    dir('twice/', { mode: 0o1777 }),
    { name: 'twice/y', content: 'y' },
    dir('opaque/deep/'),
    { name: 'opaque/deep/new', content: 'new' },
    dir('dir-to-file/'),
    { name: 'dir-to-file/z', content: 'z' },
    dir('link-to-dir/'),
    { name: 'link-to-dir/upper', content: 'upper' },
    { name: '.wh.a-b' },
  ],
];

/** The image of these layers, converted. */
async function image(): Promise<string> {
  await writeLayout(at('src'), layers.map(tarBytes), { platforms: [formatPlatform(hostPlatform())] });
  await convertImage(`oci:${at('src')}`, `oci:${at('dst')}`, { chunkSize: 4096 });
  return `oci:${at('dst')}`;
}

interface Walked {
  path: string;
  type: string;
  inode?: string;
}

/** A tree in the file system. */
function walked(path: string): Walked[] {
  const script = join(__dirname, '../conformance/support/walk.py');
  const lines = run('python3', [script, path]).toString().trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Walked);
}

const reason = whyNoMounts();

describe.skipIf(reason !== null)(titleOf('three layers', reason), () => {
  /** The layers' images, mounted one over the other by the kernel. */
  async function whileMounted<T>(use: (path: string) => Promise<T>): Promise<T> {
    const mounted: string[] = [];
    try {
      for (const [number, entries] of layers.entries()) {
        await writeFile(at(`${number}.tar`), tarBytes(entries));
        await buildErofs(at(`${number}.tar`), at(`${number}.erofs`));
        await mkdir(at(`layer${number}`));
        run('mount', ['-t', 'erofs', '-o', 'ro,loop', at(`${number}.erofs`), at(`layer${number}`)]);
        mounted.unshift(at(`layer${number}`));
      }
      await mkdir(at('merged'));
      run('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `ro,xino=on,lowerdir=${mounted.join(':')}`,
        at('merged'),
      ]);
      mounted.unshift(at('merged'));
      return await use(at('merged'));
    } finally {
      for (const path of mounted) run('umount', [path]);
    }
  }

  it('merge as overlayfs merges them, listed and extracted', async () => {
    const reference = await image();
    const kernel = await whileMounted((path) => Promise.resolve(walked(path)));
    expect(kernel.length).toBeGreaterThan(25);

    await extractImage(reference, at('out'));
    expect(walked(at('out'))).toEqual(kernel);

    const listed = await listImage(reference, '/', { recursive: true });
    const comparable = listed.map((entry) => {
      const { path, type, mode, uid, gid, xattrs, nlink, size, target, rdev } = entry;
      const [seconds, nanoseconds] = entry.mtime.split('.') as [string, string];
      const mtime = Number(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
      const common = { path, type, mode, uid, gid, mtime, xattrs };
      if (type === 'dir') return common;
      const inode = listed.find(({ ino }) => ino === entry.ino)!.path;
      if (type === 'file') return { ...common, nlink, inode, size };
      return { ...common, nlink, inode, ...(target !== null && { target }), ...(rdev !== null && { rdev }) };
    });
    expect(comparable).toEqual(kernel.map((entry) => ({ ...entry, sha256: undefined })));
  });

  it('show one layer as it is', async () => {
    const reference = await image();
    const listed = await listImage(reference, '/', { recursive: true, oneLayer: 1 });
    const types = Object.fromEntries(listed.map(({ path, type, rdev }) => [path, rdev ?? type]));
    expect(types).toMatchObject({
      '/gone': '0:0',
      '/etc/passwd': '0:0',
      '/opaque': 'dir',
      '/nothing/there': '0:0',
    });
    const opaque = listed.find(({ path }) => path === '/opaque')!;
    expect(opaque.xattrs).toEqual({ 'trusted.overlay.opaque': Buffer.from('y').toString('base64') });
    await extractImage(reference, at('one'), { oneLayer: 1 });
    const types1 = Object.fromEntries(walked(at('one')).map((entry) => [entry.path, entry.type]));
    expect(types1).toMatchObject({ '/gone': 'char', '/opaque/shown': 'file' });
  });
});

describe('a merged tree', () => {
  const open = async (sketches: Sketch[], overlay = true): Promise<MergedTree> => {
    const opened = [];
    for (const { bytes } of sketches) {
      const source = new MemorySource(bytes);
      opened.push({ name: 'layer', filesystem: await openErofs(source) });
    }
    return MergedTree.open(opened, overlay);
  };
  const paths = async (tree: MergedTree, from = '/'): Promise<string[]> => {
    const found: string[] = [];
    for await (const { path, node } of walkTree(tree, await lookUp(tree, Buffer.from(from), false))) {
      found.push(path);
      // A name is looked up by itself, not in a listing.
      expect((await lookUp(tree, Buffer.from(path, 'latin1'), false)).node.ino, path).toBe(node.ino);
    }
    return found;
  };
  const { root } = Sketch;

  /** An xattr `trusted.NAME` as it follows a compact inode: header, entry, padding. */
  function trusted(name: string, value: string): { xattrCount: number; body: Buffer } {
    const entry = Buffer.from([name.length, 4, value.length, 0, ...Buffer.from(name + value)]);
    const body = Buffer.alloc(12 + Math.ceil(entry.length / 4) * 4);
    entry.copy(body, 12);
    return { xattrCount: (body.length - 12) / 4 + 1, body };
  }

  it('knows both forms of whiteouts', async () => {
    const lower = new Sketch()
      .directory(root, 1, [
        ['a', 50],
        ['b', 51],
        ['c', 52],
        ['d', 40],
      ])
      .directory(40, 2, [
        ['x', 53],
        ['y', 53],
      ]);
    for (const nid of [50, 51, 52, 53]) lower.inode(nid, {});
    const upper = new Sketch()
      .directory(root, 1, [
        ['a', 50],
        ['b', 60],
        ['c', 51],
        ['d', 40],
      ])
      .directory(40, 2, [['x', 60]]);
    upper.inode(50, { mode: modes.char, u: 0 }).inode(51, { mode: modes.char, u: 0x103 });
    upper.inode(60, { ...trusted('overlay.whiteout', '') });
    // Only a directory that is marked may hold whiteouts of the second form.
    const marked = trusted('overlay.opaque', 'x');
    upper.inode(40, { mode: modes.dir, size: 12 * 1 + 1, u: 2, ...marked });
    const tree = await open([lower, upper]);
    expect(await paths(tree)).toEqual(['/', '/b', '/c', '/d', '/d/y']);
    for (const hidden of ['a', 'd/x', 'e']) {
      await expect(lookUp(tree, Buffer.from(hidden), false), hidden).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
    }
    expect(await paths(await open([upper], false))).toEqual(['/', '/a', '/b', '/c', '/d', '/d/x']);
    expect(await tree.xattrs((await lookUp(tree, Buffer.from('/d'), false)).node)).toEqual([]);
  });

  it('gives inodes of different layers different numbers, and hard links the same', async () => {
    const layer = (name: string): Sketch =>
      new Sketch()
        .directory(root, 1, [
          [`${name}1`, 50],
          [`${name}2`, 50],
        ])
        .inode(50, {});
    const tree = await open([layer('a'), layer('b')]);
    const numbers: number[] = [];
    for await (const { path, node } of walkTree(tree, { path: '/', node: tree.root }))
      if (path !== '/') numbers.push(node.ino);
    const [a1, a2, b1, b2] = numbers;
    expect(a1).toBe(a2);
    expect(b1).toBe(b2);
    expect(a1).not.toBe(b1);
  });

  it('resolves links inside of the merged root', async () => {
    const lower = new Sketch()
      .directory(root, 1, [
        ['etc', 40],
        ['l', 50],
      ])
      .directory(40, 2, [['f', 60]]);
    lower.inode(60, {}).symlink(50, '/../../etc/../etc/up');
    const upper = new Sketch()
      .directory(root, 1, [['etc', 40]])
      .directory(40, 2, [['up', 50]])
      .symlink(50, '../l2/f');
    const top = new Sketch()
      .directory(root, 1, [
        ['l2', 50],
        ['loop', 60],
      ])
      .symlink(50, 'etc')
      .symlink(60, 'loop');
    const tree = await open([lower, upper, top]);
    expect((await lookUp(tree, Buffer.from('/l'), true)).path).toBe('/etc/f');
    expect((await lookUp(tree, Buffer.from('/l'), false)).path).toBe('/l');
    await expect(lookUp(tree, Buffer.from('/loop'), true)).rejects.toEqual(refusal('FAILED', 'symlinks'));
    await expect(lookUp(tree, Buffer.from('/etc/f/'), true)).rejects.toEqual(refusal('NOT_FOUND', '/etc/f/'));
  });

  it('follows 40 symbolic links, not 41', async () => {
    const names = Array.from({ length: 42 }, (_, index): [string, number] => [
      `l${index + 10}`,
      40 + 2 * index,
    ]);
    const sketch = new Sketch().directory(root, 1, names).inode(40 + 2 * 41, {});
    for (const [index, [, nid]] of names.slice(0, 41).entries()) sketch.symlink(nid, names[index + 1]![0]);
    const tree = await open([sketch]);
    expect((await lookUp(tree, Buffer.from('/l11'), true)).path).toBe('/l51');
    const refused = lookUp(tree, Buffer.from('/l10'), true);
    await expect(refused).rejects.toEqual(refusal('FAILED', 'more than 40 symlinks'));
  });

  it('goes by the bytes of whole paths, to a depth', async () => {
    const sketch = new Sketch().directory(root, 1, [
      ['a', 40],
      ['a!', 50],
      ['a-b', 41],
      ['a0', 50],
    ]);
    sketch
      .directory(40, 2, [['z', 42]])
      .directory(41, 3, [['y', 50]])
      .directory(42, 4, [['w', 50]])
      .inode(50, {});
    const tree = await open([sketch]);
    const all = ['/', '/a', '/a!', '/a-b', '/a-b/y', '/a/z', '/a/z/w', '/a0'];
    expect(await paths(tree)).toEqual(all);
    const toDepth = async (depth: number): Promise<string[]> => {
      const found: string[] = [];
      for await (const { path } of walkTree(tree, { path: '/', node: tree.root }, { depth }))
        found.push(path);
      return found;
    };
    for (const depth of [0, 1, 2, 3]) {
      expect(await toDepth(depth)).toEqual(
        all.filter((path) => path.split('/').filter(Boolean).length <= depth),
      );
    }
  });

  it.each([true, false])('refuses loops and bombs (overlay: %s)', async (overlay) => {
    const loop = new Sketch().directory(root, 1, [['d', 40]]).directory(40, 2, [['up', root]]);
    await expect(paths(await open([loop], overlay))).rejects.toEqual(refusal('CORRUPT', 'twice'));
    const names = Array.from({ length: 3000 }, (_, i): [string, number] => [`d${i + 1000}`, 200 + i]);
    const bomb = new Sketch(120).directory(root, 100, names);
    const large = Array.from({ length: 90 }, (_, i): [string, number] => [`${i + 10}`.padEnd(200, 'n'), 180]);
    bomb.directory(40, 90, large).inode(180, {});
    const size = bomb.bytes.readUInt32LE(40 * 32 + 8);
    for (const [, nid] of names) bomb.inode(nid, { mode: modes.dir, size, u: 90 });
    await expect(paths(await open(overlay ? [bomb, bomb] : [bomb], overlay))).rejects.toEqual(
      refusal('CORRUPT', 'more bytes than the image'),
    );
  });
});
