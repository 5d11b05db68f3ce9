import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openErofs } from '../../../src/erofs/filesystem';
import { checkImage, type CheckResult } from '../../../src/image/check/check';
import { buildErofs } from '../../../src/layer/build';
import { encodeLayer } from '../../../src/layer/encode';
import { caught } from '../../support/caught';
import { MemorySource } from '../../support/memory-source';
import { tarBytes, type TarEntryBytes } from '../../support/tar-bytes';

const folder = mkdtempSync(join(tmpdir(), 'check-'));
const at = (name: string): string => join(folder, name);
const big = 'all work and no play\n'.repeat(120_000); // 2.5 MB: several pieces

/** A layer with everything that can differ. */
const layer: TarEntryBytes[] = [
  { name: './', type: '5', mode: 0o755, mtime: '5' },
  { name: 'bin/tool', mode: 0o4755, uid: 1000, gid: 70_000, content: 'tool' },
  { name: 'bin/tool-too', type: '1', target: 'bin/tool', mode: 0o4755, uid: 1000, gid: 70_000 },
  { name: 'bin/other', content: 'tool' },
  { name: 'data/big', content: big },
  { name: 'data/empty' },
  { name: 'data/old', mtime: '-1.5', content: 'old' },
  { name: 'data/precise', mtime: '1700000000.123456789', content: 'precise' },
  { name: 'data/sparse', pax: sparse(65_536, [4096, 3], [65_536, 0]), content: 'abc' },
  { name: 'dev/null', type: '3', device: [1, 3], mode: 0o666 },
  { name: 'dev/sda', type: '4', device: [8, 0], mode: 0o660 },
  { name: 'dev/pipe', type: '6' },
  { name: 'etc/', type: '5', mode: 0o1755, mtime: '1600000000' },
  { name: 'etc/hostname', content: 'sample\n' },
  { name: 'etc/link', type: '2', target: 'hostname', uid: 7 },
  { name: 'etc/.wh.gone', mode: 0 },
  { name: 'opt/.wh..wh..opq' },
  { name: 'opt/new', content: 'new' },
  { name: 'srv/plain/x', content: 'x' },
  { name: 'xattrs/some', xattrs: { 'user.a': '1', 'user.b': '', 'security.capability': '\x01\0\0\x02' } },
  { name: 'xattrs/none' },
];

/** PAX records of GNU sparse format 0.1: pairs of offset and length. */
function sparse(size: number, ...map: [number, number][]): Record<string, string> {
  return { 'GNU.sparse.size': `${size}`, 'GNU.sparse.map': map.flat().join(',') };
}

const edit = (name: string, change: Partial<TarEntryBytes>) => (entries: TarEntryBytes[]) =>
  entries.map((entry) => (entry.name === name ? { ...entry, ...change } : entry));
const drop = (name: string) => (entries: TarEntryBytes[]) =>
  entries.filter((entry) => !entry.name.startsWith(name));
const add =
  (...more: TarEntryBytes[]) =>
  (entries: TarEntryBytes[]) => [...entries, ...more];

type Plant = [what: string, change: (entries: TarEntryBytes[]) => TarEntryBytes[], ...found: string[]];

/** A change of the layer, and the paths and fields that are reported for it. */
const plants: Plant[] = [
  ['the first byte of a file', edit('etc/hostname', { content: 'Sample\n' }), '/etc/hostname content'],
  [
    'the last byte of a large file',
    edit('data/big', { content: `${big.slice(0, -1)}!` }),
    '/data/big content',
  ],
  [
    'a byte far inside',
    edit('data/big', { content: `${big.slice(0, 1.5e6)}~${big.slice(1.5e6 + 1)}` }),
    '/data/big content',
  ],
  [
    'a byte in a hole',
    edit('data/sparse', { pax: sparse(65_536, [4096, 3], [9000, 1], [65_536, 0]), content: 'abc!' }),
    '/data/sparse content',
  ],
  [
    'the length of a hole',
    edit('data/sparse', { pax: sparse(65_537, [4096, 3], [65_537, 0]) }),
    '/data/sparse size',
  ],
  [
    'data at another place of a sparse file',
    edit('data/sparse', { pax: sparse(65_536, [4097, 3], [65_536, 0]) }),
    '/data/sparse content',
  ],
  ['a file cut short', edit('data/big', { content: big.slice(0, -1) }), '/data/big size'],
  ['a file that lost all', edit('data/old', { content: '' }), '/data/old size'],
  ['an empty file filled', edit('data/empty', { content: '\0' }), '/data/empty size'],
  [
    'two contents swapped',
    (entries) => edit('opt/new', { content: 'old' })(edit('data/old', { content: 'new' })(entries)),
    '/data/old content',
    '/opt/new content',
  ],
  ['a permission bit', edit('etc/hostname', { mode: 0o645 }), '/etc/hostname mode'],
  ['set-user-ID lost', edit('xattrs/none', { mode: 0o4644 }), '/xattrs/none mode'],
  ['sticky lost', edit('etc/', { mode: 0o755 }), '/etc mode'],
  ["a device's mode", edit('dev/null', { mode: 0o660 }), '/dev/null mode'],
  ["the root's mode", edit('./', { mode: 0o700 }), '/ mode'],
  ['an owner', edit('etc/hostname', { uid: 1 }), '/etc/hostname uid'],
  ["a symlink's owner", edit('etc/link', { uid: 0 }), '/etc/link uid'],
  [
    'a group, its low 16 bits kept',
    edit('bin/tool-too', { gid: 70_000 - 65_536 }),
    '/bin/tool gid',
    '/bin/tool-too gid',
  ],
  ['a nanosecond', edit('data/precise', { mtime: '1700000000.123456788' }), '/data/precise mtime'],
  ['a second', edit('etc/hostname', { mtime: '1700000001' }), '/etc/hostname mtime'],
  ['a time before 1970', edit('data/old', { mtime: '0' }), '/data/old mtime'],
  ["a directory's time", edit('etc/', { mtime: '1600000001' }), '/etc mtime'],
  ["a symlink's time", edit('etc/link', { mtime: '9' }), '/etc/link mtime'],
  [
    "an xattr's value",
    edit('xattrs/some', { xattrs: { 'user.a': '2', 'user.b': '', 'security.capability': '\x01\0\0\x02' } }),
    '/xattrs/some xattrs',
  ],
  [
    "an xattr's name",
    edit('xattrs/some', { xattrs: { 'user.A': '1', 'user.b': '', 'security.capability': '\x01\0\0\x02' } }),
    '/xattrs/some xattrs',
  ],
  [
    'an empty xattr lost',
    edit('xattrs/some', { xattrs: { 'user.a': '1', 'security.capability': '\x01\0\0\x02' } }),
    '/xattrs/some xattrs',
  ],
  ['all xattrs lost', edit('xattrs/some', { xattrs: {} }), '/xattrs/some xattrs'],
  ['an xattr gained', edit('xattrs/none', { xattrs: { 'trusted.x': '1' } }), '/xattrs/none xattrs'],
  [
    'a zero byte of an xattr',
    edit('xattrs/some', { xattrs: { 'user.a': '1', 'user.b': '', 'security.capability': '\x01\0\x01\x02' } }),
    '/xattrs/some xattrs',
  ],
  [
    'a hard link split in two',
    edit('bin/tool-too', { type: '0', content: 'tool' }),
    '/bin/tool links',
    '/bin/tool-too links',
  ],
  [
    'two equal files made one',
    edit('bin/other', { type: '1', target: 'bin/tool', content: '', mode: 0o4755, uid: 1000, gid: 70_000 }),
    '/bin/other mode',
    '/bin/other uid',
    '/bin/other gid',
    '/bin/other links',
    '/bin/tool links',
    '/bin/tool-too links',
  ],
  [
    'a hard link to another file',
    (entries) =>
      add({ name: 'bin/tool-too', type: '1', target: 'data/empty' })(drop('bin/tool-too')(entries)),
    '/bin/tool links',
    '/bin/tool-too mode',
    '/bin/tool-too uid',
    '/bin/tool-too gid',
    '/bin/tool-too size',
    '/bin/tool-too links',
    '/data/empty links',
  ],
  ['a name of a file lost', drop('bin/tool-too'), '/bin/tool links', '/bin/tool-too missing'],
  ['a whiteout lost', drop('etc/.wh.gone'), '/etc/gone missing'],
  ['a whiteout gained', add({ name: 'srv/.wh.y' }), '/srv/y extra'],
  ['a whiteout that became a file', edit('etc/.wh.gone', { name: 'etc/gone' }), '/etc/gone type'],
  ['opaque lost', drop('opt/.wh..wh..opq'), '/opt xattrs'],
  ['opaque gained', add({ name: 'srv/.wh..wh..opq' }), '/srv xattrs'],
  ['opaque by a whiteout of its own directory', add({ name: 'srv/.wh.plain' }), '/srv/plain xattrs'],
  ['a target', edit('etc/link', { target: 'Hostname' }), '/etc/link target'],
  ['a longer target', edit('etc/link', { target: 'hostname/' }), '/etc/link target'],
  ['a minor number', edit('dev/null', { device: [1, 5] }), '/dev/null rdev'],
  ['a major number', edit('dev/sda', { device: [9, 0] }), '/dev/sda rdev'],
  ['a character device that became a block device', edit('dev/null', { type: '4' }), '/dev/null type'],
  ['a FIFO that became a file', edit('dev/pipe', { type: '0' }), '/dev/pipe type'],
  [
    'a symlink that became what it names',
    edit('etc/link', { type: '0', content: 'sample\n' }),
    '/etc/link type',
  ],
  [
    'a directory that became a file',
    (entries) => add({ name: 'opt' })(drop('opt/')(entries)),
    '/opt type',
    '/opt/new missing',
  ],
  ['a file that became a directory', edit('data/empty', { type: '5' }), '/data/empty type'],
  ['an extra file', add({ name: 'srv/zz' }), '/srv/zz extra'],
  ['an extra directory with something in it', add({ name: 'srv/zz/y' }), '/srv/zz extra', '/srv/zz/y extra'],
  ['a missing file', drop('etc/hostname'), '/etc/hostname missing'],
  ['a missing directory', drop('srv/plain/x'), '/srv missing', '/srv/plain missing', '/srv/plain/x missing'],
  [
    'a letter of a name',
    edit('etc/hostname', { name: 'etc/Hostname' }),
    '/etc/Hostname extra',
    '/etc/hostname missing',
  ],
  [
    'a name in Latin-1',
    edit('etc/hostname', { name: 'etc/h\xf6st' }),
    '/etc/hostname missing',
    '/etc/h\\xf6st extra',
  ],
];

/** Changes of a tar that leave what it describes. */
const harmless: [what: string, change: (entries: TarEntryBytes[]) => TarEntryBytes[]][] = [
  ['nothing', (entries) => entries],
  [
    'a hole filled with zeros',
    edit('data/sparse', { pax: {}, content: `${'\0'.repeat(4096)}abc${'\0'.repeat(61_437)}` }),
  ],
  ['data split in two', edit('data/sparse', { pax: sparse(65_536, [4096, 1], [4097, 2], [65_536, 0]) })],
  ['the xattr for overlayfs', edit('etc/', { xattrs: { 'trusted.overlay.origin': 'x' } })],
  ['another form of the names', (entries) => entries.map((entry) => ({ ...entry, name: `./${entry.name}` }))],
  [
    'an entry that another one replaces',
    (entries) => [{ name: 'etc/hostname', content: 'first' }, ...entries],
  ],
  ['an entry for what was implied', add({ name: 'opt/', type: '5', mode: 0o755 })],
];

async function build(entries: TarEntryBytes[], name: string): Promise<string> {
  writeFileSync(at(`${name}.tar`), tarBytes(entries));
  await buildErofs(at(`${name}.tar`), at(`${name}.erofs`));
  return at(`${name}.erofs`);
}

const found = ({ differences }: CheckResult): string[] =>
  differences.map(({ path, field }) => `${path} ${field}`);

beforeAll(async () => {
  await build(layer, 'layer');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('a planted difference is found:', () => {
  it.each(plants)('%s', async (_what, change, ...expected) => {
    const result = await checkImage(at('layer.tar'), await build(change(layer), 'planted'));
    expect(found(result)).toEqual(expected);
    expect(result.ok).toBe(false);
  });

  it.each(plants)('%s, the other way round', async (_what, change, ...expected) => {
    await build(change(layer), 'planted');
    const result = await checkImage(at('planted.tar'), at('layer.erofs'));
    const opposite: Record<string, string> = { missing: 'extra', extra: 'missing' };
    const mirrored = expected.map((line) => line.replace(/missing|extra/, (word) => opposite[word]!));
    expect(found(result)).toEqual(mirrored);
  });
});

describe('no difference is', () => {
  it.each(harmless)('%s', async (_what, change) => {
    const image = await build(change(layer), 'harmless');
    expect((await checkImage(at('layer.tar'), image)).differences).toEqual([]);
    const result = await checkImage(at('harmless.tar'), at('layer.erofs'));
    expect(result).toMatchObject({ ok: true, differences: [] });
  });
});

describe('what is reported', () => {
  it('has the values of both sides, as ls has them', async () => {
    const changes: Record<string, Partial<TarEntryBytes>> = {
      'data/big': { content: `${big.slice(0, 1.5e6)}~${big.slice(1.5e6 + 1)}` },
      'data/old': { mtime: '-1.25' },
      'dev/null': { device: [4095, 1_048_575] },
      'etc/': { mode: 0o755 },
      'etc/link': { target: 'n\xf6' },
      'xattrs/some': { xattrs: { 'user.a': '2', 'user.b': '', 'security.capability': '\x01\0\0\x02' } },
    };
    const changed = layer.map((entry) => ({ ...entry, ...changes[entry.name] }));
    const { differences } = await checkImage(at('layer.tar'), await build(changed, 'planted'));
    const byte = `0x${big.charCodeAt(1.5e6).toString(16)} at offset 1500000`;
    expect(differences).toEqual([
      { path: '/data/big', field: 'content', expected: byte, actual: '0x7e at offset 1500000' },
      { path: '/data/old', field: 'mtime', expected: '-2.500000000', actual: '-2.750000000' },
      { path: '/dev/null', field: 'rdev', expected: '1:3', actual: '4095:1048575' },
      { path: '/etc', field: 'mode', expected: '1755', actual: '0755' },
      { path: '/etc/link', field: 'target', expected: 'hostname', actual: 'n\\xf6' },
      { path: '/xattrs/some', field: 'xattrs', expected: { 'user.a': 'MQ==' }, actual: { 'user.a': 'Mg==' } },
    ]);
  });

  it('counts the paths of the source and the bytes compared', async () => {
    const result = await checkImage(at('layer.tar'), at('layer.erofs'));
    expect(result.entries).toBe(27);
    expect(result.summary.bytes).toBeGreaterThan(big.length);
  });

  it('lists a hundred, or as many as asked for, and counts the rest', async () => {
    const many = Array.from({ length: 350 }, (_, i) => ({ name: `many/${i}` }));
    writeFileSync(at('many.tar'), tarBytes(many));
    const few = await build([{ name: 'many/', type: '5', mode: 0o755 }], 'few');
    const result = await checkImage(at('many.tar'), few);
    expect(result).toMatchObject({ ok: false, entries: 352, omitted: 250 });
    expect(result.differences).toHaveLength(100);
    const none = await checkImage(at('many.tar'), few, { maxDifferences: 0 });
    expect(none).toMatchObject({ ok: false, omitted: 350, differences: [] });
    const all = await checkImage(at('many.tar'), few, { maxDifferences: 1000 });
    expect([all.differences.length, all.omitted]).toEqual([350, undefined]);
  });
});

/** Changes an image; its superblock does without a checksum then. */
function patchImage(patch: (image: Buffer) => void): string {
  const image = readFileSync(at('layer.erofs'));
  image[1024 + 8]! &= ~1;
  patch(image);
  writeFileSync(at('patched.erofs'), image);
  return at('patched.erofs');
}

/** Changes the inode of `path` in an image. */
async function patchInode(path: string, patch: (image: Buffer, inode: number) => void): Promise<string> {
  const filesystem = await openErofs(new MemorySource(readFileSync(at('layer.erofs'))));
  const { nid } = await filesystem.lstat(path);
  return patchImage((image) => {
    const metadataBlock = image.readUInt32LE(1024 + 40);
    patch(image, metadataBlock * 4096 + Number(nid) * 32);
  });
}

describe('an image that was tampered with:', () => {
  it('a byte of data', async () => {
    const image = patchImage((bytes) => (bytes[bytes.indexOf('sample\n') + 6]! ^= 1));
    expect(found(await checkImage(at('layer.tar'), image))).toEqual(['/etc/hostname content']);
  });

  it('a mode', async () => {
    const image = await patchInode('/etc/hostname', (bytes, inode) => (bytes[inode + 4]! ^= 1));
    expect(found(await checkImage(at('layer.tar'), image))).toEqual(['/etc/hostname mode']);
  });

  it('a nanosecond', async () => {
    const image = await patchInode('/data/precise', (bytes, inode) => (bytes[inode + 40]! ^= 1));
    expect(found(await checkImage(at('layer.tar'), image))).toEqual(['/data/precise mtime']);
  });

  it('a link count', async () => {
    const image = await patchInode('/bin/tool', (bytes, inode) => bytes.writeUInt32LE(3, inode + 44));
    expect(found(await checkImage(at('layer.tar'), image))).toEqual(['/bin/tool links']);
  });

  it("a directory's link count", async () => {
    const image = await patchInode('/srv', (bytes, inode) => bytes.writeUInt16LE(4, inode + 6));
    expect(found(await checkImage(at('layer.tar'), image))).toEqual(['/srv links']);
  });

  it('a directory in its own place', async () => {
    const filesystem = await openErofs(new MemorySource(readFileSync(at('layer.erofs'))));
    const [root, plain] = [await filesystem.lstat('/'), await filesystem.lstat('/srv/plain')];
    const image = patchImage((bytes) => {
      const from = Buffer.alloc(8);
      from.writeBigUInt64LE(plain.nid);
      let entry = bytes.indexOf(from, 1152);
      for (; entry >= 0; entry = bytes.indexOf(from, entry + 1)) bytes.writeBigUInt64LE(root.nid, entry);
    });
    const error = await caught(() => checkImage(at('layer.tar'), image));
    expect(error).toMatchObject({ code: 'CORRUPT' });
  });
});

describe('other forms of a layer', () => {
  it('are blobs, against tars of every compression', async () => {
    const descriptor = await encodeLayer(at('layer.tar'), at('layer.blob'), {
      chunkSize: 65_536,
      dmVerity: true,
    });
    writeFileSync(at('layer.tar.gz'), gzipSync(readFileSync(at('layer.tar'))));
    for (const tar of ['layer.tar', 'layer.tar.gz']) {
      expect(await checkImage(at(tar), at('layer.blob'), { descriptor })).toMatchObject({
        ok: true,
        entries: 27,
      });
    }
  });

  it('are images, against images', async () => {
    await encodeLayer(at('layer.erofs'), at('again.blob'), { chunkSize: 4096 });
    expect(await checkImage(at('layer.erofs'), at('again.blob'))).toMatchObject({ ok: true, entries: 27 });
    expect(await checkImage(at('again.blob'), at('layer.erofs'))).toMatchObject({ ok: true, entries: 27 });
    const planted = await build(edit('data/sparse', { content: 'abd' })(layer), 'planted');
    expect(found(await checkImage(at('again.blob'), planted))).toEqual(['/data/sparse content']);
    const split = await build(edit('bin/tool-too', { type: '0', content: 'tool' })(layer), 'planted');
    expect(found(await checkImage(at('layer.erofs'), split))).toEqual([
      '/bin/tool links',
      '/bin/tool-too links',
    ]);
  });

  it('are 0 bytes, which are an empty tar', async () => {
    writeFileSync(at('nothing.tar'), '');
    expect(await checkImage(at('nothing.tar'), await build([], 'empty'))).toMatchObject({
      ok: true,
      entries: 1,
    });
  });
});

describe('what can not be compared', () => {
  it('is a blob with a damaged frame', async () => {
    const descriptor = await encodeLayer(at('layer.tar'), at('damaged.blob'), { chunkSize: 65_536 });
    const blob = readFileSync(at('damaged.blob'));
    blob[100]! ^= 1;
    writeFileSync(at('damaged.blob'), blob);
    const { exitCode } = await caught(() => checkImage(at('layer.tar'), at('damaged.blob'), { descriptor }));
    expect(exitCode).toBe(3);
  });

  it('is a tar as the converted layer', async () => {
    expect(await caught(() => checkImage(at('layer.tar'), at('layer.tar')))).toMatchObject({ code: 'USAGE' });
  });

  it('is a tar that the policy refuses', async () => {
    writeFileSync(at('refused.tar'), tarBytes([{ name: 'a', type: '1', target: 'nowhere' }]));
    const error = await caught(() => checkImage(at('refused.tar'), at('layer.erofs')));
    expect(error).toMatchObject({ code: 'REFUSED', what: `${at('refused.tar')}: entry a` });
  });

  it('is a tar that ends too early', async () => {
    writeFileSync(at('short.tar'), readFileSync(at('layer.tar')).subarray(0, 600_000));
    const error = await caught(() => checkImage(at('short.tar'), at('layer.erofs')));
    expect(error).toMatchObject({ code: 'CORRUPT', what: `${at('short.tar')}: entry data/big` });
  });

  it('is a file and an image', async () => {
    const error = await caught(() => checkImage(at('layer.tar'), `oci:${folder}`));
    expect(error).toMatchObject({ code: 'USAGE' });
  });

  it('is what was cancelled', async () => {
    const signal = AbortSignal.abort();
    const error = await caught(() => checkImage(at('layer.tar'), at('layer.erofs'), { signal }));
    expect(error).toMatchObject({ code: 'CANCELLED' });
  });
});
