import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extractImage, type ExtractOptions } from '../../../src/image/extract/extract';
import { encodeLayer } from '../../../src/layer/encode';
import { rootOnly, run, titleOf, whyWithout } from '../../conformance/support/machine';
import { noise } from '../../e2e/sample';
import { goldenFile, goldenImages, recordedTree, type RecordedEntry } from '../../erofs/erofs-images';
import { Sketch, modes } from '../../erofs/sketch';
import { refusal } from '../../support/refusal';
import { tarBytes, type TarEntryBytes } from '../../support/tar-bytes';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'extract-'));
  await mkdir(at('outside'));
  await writeFile(at('outside/kept'), 'kept');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});
const at = (name: string): string => join(folder, name);

async function put(name: string, bytes: Buffer): Promise<string> {
  await writeFile(at(name), bytes);
  return at(name);
}

/** A blob of a tar with these entries. */
async function blobOf(entries: TarEntryBytes[], chunkSize = 65_536): Promise<string> {
  await encodeLayer(await put('layer.tar', tarBytes(entries)), at('layer.blob'), { chunkSize });
  return at('layer.blob');
}

/** Extracts to `out`, and checks that nothing else happened. */
async function extract(image: string, options: ExtractOptions = {}) {
  const before = (await readdir(folder)).filter((name) => name !== 'out');
  try {
    return await extractImage(image, at('out'), options);
  } finally {
    expect((await readdir(folder)).filter((name) => name !== 'out')).toEqual(before);
    expect(await readdir(at('outside'))).toEqual(['kept']);
    expect(await readFile(at('outside/kept'), 'utf8')).toBe('kept');
  }
}

const reason = rootOnly ?? whyWithout('python3');

describe.skipIf(reason !== null)(titleOf('images of mkfs.erofs', reason), () => {
  /** What walk.py says of a folder, in the form of the recorded trees. Folders' link counts are the file system's affair. */
  function walked(path: string): Partial<RecordedEntry>[] {
    const script = join(__dirname, '../../conformance/support/walk.py');
    // The script escapes spaces, the recorded trees don't.
    const lines = run('python3', [script, path]).toString().replaceAll('\\\\x20', ' ').trimEnd().split('\n');
    return lines.map((line) => {
      const entry = JSON.parse(line) as Record<string, string>;
      const { type, inode, path: name, rdev } = entry;
      return {
        ...without(entry, 'xattrs', 'mtime', 'inode'),
        type: (type === 'char' ? 'chr' : type === 'block' ? 'blk' : type) as 'file',
        ...(inode !== name && { hardlink_of: inode }),
        ...(rdev !== undefined && { rdev: rdev.split(':').map(Number) as [number, number] }),
      };
    });
  }

  /** For toEqual(), a member that is undefined is none. */
  function without(entry: object, ...keys: string[]): object {
    return { ...entry, ...Object.fromEntries(keys.map((key) => [key, undefined])) };
  }

  it.each(goldenImages().filter(({ tree }) => tree !== undefined))('$name', async ({ name, tree }) => {
    const devices = name === 'tar-index512.erofs' ? [await put('ref.tar', goldenFile('ref.tar'))] : [];
    const recorded = recordedTree(tree);
    const result = await extract(await put('image', goldenFile(name)), { devices });
    const bytes = recorded
      .filter(({ type, hardlink_of }) => type === 'file' && hardlink_of === undefined)
      .reduce((sum, { size }) => sum + size!, 0);
    expect(result).toEqual({ entries: recorded.length, bytes });
    const expected = recorded.map((entry) => {
      const unlike = entry.type === 'file' ? [] : entry.type === 'dir' ? ['nlink'] : ['size'];
      return without(entry, 'xattrs', 'mtime', ...unlike);
    });
    expect(walked(at('out'))).toEqual(expected);
    for (const { path, mtime } of recorded) {
      if (path.includes('\\x')) continue;
      const { mtimeNs } = await lstat(join(at('out'), path), { bigint: true });
      const [seconds, nanoseconds] = mtime.split('.') as [string, string];
      expect(mtimeNs, path).toBe(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
    }
  });

  it('restores xattrs, owners, devices; warns once of what the file system can not have', async () => {
    const warnings: string[] = [];
    const image = await blobOf([
      { name: 'd/', type: '5', mode: 0o755, xattrs: { 'trusted.t': 'v' } },
      {
        name: 'd/f',
        uid: 70_000,
        gid: 5,
        mode: 0o4755,
        content: 'x',
        xattrs: { 'security.capability': capability },
      },
      { name: 'd/s', type: '2', target: 'f', uid: 9, xattrs: { 'trusted.l': 'link' } },
      { name: 'd/null', type: '3', device: [1, 3], mode: 0o666, xattrs: { 'trusted.n': 'null' } },
      ...['a', 'b', 'c'].map((name) => ({ name, xattrs: { 'user.huge': 'x'.repeat(60_000) } })),
    ]);
    const line = (text: string): void => void warnings.push(text);
    await extract(image, { onWarning: line });
    const found = JSON.parse(
      run('python3', [
        '-c',
        xattrScript,
        at('out/d'),
        at('out/d/f'),
        at('out/d/s'),
        at('out/d/null'),
      ]).toString(),
    ) as Record<string, string>[];
    expect(found).toEqual([
      { 'trusted.t': 'v' },
      { 'security.capability': capability },
      { 'trusted.l': 'link' },
      { 'trusted.n': 'null' },
    ]);
    expect(await lstat(at('out/d/f'))).toMatchObject({ uid: 70_000, gid: 5, mode: 0o104755 });
    expect((await lstat(at('out/d/s'))).uid).toBe(9);
    expect((await lstat(at('out/d/null'))).rdev).toBe(0x103);
    const [huge] = warnings.filter((text) => text.includes('user.huge'));
    if (huge !== undefined) expect(huge).toMatch(/^\/a: user\.huge not restored: .+ \(and of 2 more\)$/);
  });
});

/** CAP_NET_RAW, permitted and effective, as the kernel has it (version 2). */
const capability = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0';
const xattrScript = `
import json, os, sys
read = lambda path, name: os.getxattr(path, name, follow_symlinks=False).decode("latin1")
print(json.dumps([{n: read(p, n) for n in os.listxattr(p, follow_symlinks=False)} for p in sys.argv[1:]]))
`;

describe('an extraction', () => {
  it('keeps holes', async () => {
    const { bytes } = await extract(await put('image', goldenFile('dir-5g-holes-chunk1m.erofs')));
    expect(bytes).toBe(5 * 1024 ** 3 + 4);
    const { size, blocks } = await stat(at('out/five'));
    expect(size).toBe(5 * 1024 ** 3 + 3);
    expect(blocks * 512).toBeLessThan(1 << 20);
  });

  it('takes files of any size, compressed inside or not', async () => {
    const contents = [0, 1, 4095, 4096, 4 << 20, (9 << 20) + 12_345];
    const files = contents.map((size, i) => ({
      name: `f${i}`,
      content: noise(size, `${i}`).toString('latin1'),
    }));
    const image = await blobOf(files, 1 << 20);
    expect(await extract(image, { threads: 1 })).toEqual({
      entries: 7,
      bytes: contents.reduce((sum, size) => sum + size, 0),
    });
    for (const { name, content } of files) {
      expect(readFileSync(at(`out/${name}`), 'latin1') === content, name).toBe(true);
    }
  });

  it('makes only the parts that are asked for, in their places', async () => {
    const image = await blobOf([
      { name: 'etc/', type: '5', mode: 0o751 },
      { name: 'etc/passwd', content: 'root' },
      { name: 'etc/hosts', content: 'hosts' },
      { name: 'usr/bin/a', content: 'a' },
      { name: 'usr/bin/b', type: '1', target: 'usr/bin/a' },
      { name: 'bin', type: '2', target: 'usr/bin' },
      { name: 'caf\xe9', content: 'e' },
    ]);
    await mkdir(at('made'));
    const paths = ['bin/b', '/usr/bin/b', 'etc/passwd', '/caf\\xe9', 'bin'];
    expect(await extract(image, { paths })).toEqual({ entries: 4, bytes: 6 });
    expect((await readdir(at('out'))).length).toBe(4);
    expect(await readdir(at('out/etc'))).toEqual(['passwd']);
    expect((await stat(at('out/etc'))).mode & 0o7777).toBe(0o751);
    expect(await readFile(at('out/usr/bin/b'), 'utf8')).toBe('a');
    expect((await stat(at('out'))).mode).toBe((await stat(at('made'))).mode);
    await rm(at('out'), { recursive: true });
    expect(await extract(image, { paths: ['/usr', 'usr/bin', '/'] })).toMatchObject({ entries: 10 });
    await expect(extractImage(image, at('no'), { paths: ['/none'] })).rejects.toEqual(
      refusal('NOT_FOUND', '/none'),
    );
    expect(existsSync(at('no'))).toBe(false);
  });

  describe('into the folder that has what is read', () => {
    const entries: TarEntryBytes[] = [
      { name: 'a/layer.blob', content: 'x' },
      { name: 'b', content: 'y' },
      { name: 'blobs/index.json', content: 'z' },
    ];
    const force = true;

    it.each<[string, (blob: string) => Promise<string>]>([
      ['its own name', (blob) => Promise.resolve(blob)],
      ['a link', async (blob) => symlink(blob, at('link')).then(() => at('link'))],
    ])('does not replace it, by %s', async (_, nameOf) => {
      const blob = await blobOf(entries);
      await mkdir(at('out/a'), { recursive: true });
      await rename(blob, at('out/a/layer.blob'));
      const bytes = await readFile(at('out/a/layer.blob'));
      const image = await nameOf(at('out/a/layer.blob'));
      for (const paths of [undefined, ['/a'], ['/a/layer.blob']])
        await expect(extract(image, { force, paths })).rejects.toEqual(refusal('USAGE', 'which is read'));
      expect(await readdir(at('out'))).toEqual(['a']);
      await extract(image, { force, paths: ['/b'] });
      expect(await readFile(at('out/a/layer.blob'))).toEqual(bytes);
    });

    it('nor a file that stands where a folder of the image goes, nor one that is named besides', async () => {
      const blob = await blobOf(entries);
      await mkdir(at('out'));
      await rename(blob, at('out/a'));
      await expect(extract(at('out/a'), { force, paths: ['/a/layer.blob'] })).rejects.toEqual(
        refusal('USAGE', 'which is read'),
      );
      await rename(at('out/a'), at('blob'));
      await writeFile(at('out/b'), '{}');
      const inputs = [at('out/b')];
      await expect(extract(at('blob'), { force, inputs })).rejects.toEqual(refusal('USAGE', 'which is read'));
      expect(await readFile(at('out/b'), 'utf8')).toBe('{}');
    });

    it('but what has another name', async () => {
      const blob = await blobOf(entries);
      await mkdir(at('out'));
      await rename(blob, at('out/layer.blob'));
      await extract(at('out/layer.blob'), { force });
      expect(await readdir(at('out'))).toEqual(['a', 'b', 'blobs', 'layer.blob']);
    });
  });

  it('needs a folder that is absent or empty, or force', async () => {
    const image = await blobOf([
      { name: 'f', content: 'new' },
      { name: 'd/x', content: 'x' },
    ]);
    await mkdir(at('out'));
    await extract(image);
    await expect(extract(image)).rejects.toEqual(refusal('USAGE', 'not empty'));
    await writeFile(at('out/f'), 'old');
    await writeFile(at('out/d/other'), 'stays');
    await extract(image, { force: true });
    expect(await readFile(at('out/f'), 'utf8')).toBe('new');
    expect(await readFile(at('out/d/other'), 'utf8')).toBe('stays');
    await expect(extractImage(image, at('none/out'))).rejects.toEqual(refusal('NOT_FOUND', 'does not exist'));
    await expect(extractImage(image, image)).rejects.toEqual(refusal('USAGE', 'no folder'));
  });

  it.each(['absent', 'empty', 'filled'])(
    'leaves nothing behind when it fails: a folder that was %s',
    async (was) => {
      const content = noise(300_000, 'x').toString('latin1');
      const blob = await blobOf([
        { name: 'd/', type: '5', mode: 0o500 },
        { name: 'd/first', content },
        { name: 'd/last', content },
      ]);
      const bytes = await readFile(blob);
      // In the last frame's data, which the last file has; what follows are the table and its frame.
      const place = bytes.lastIndexOf(Buffer.from(content.slice(-20_000, -19_900), 'latin1'));
      bytes[place]! ^= 1;
      await writeFile(blob, bytes);
      if (was !== 'absent') await mkdir(at('out'));
      if (was === 'filled') await writeFile(at('out/mine'), 'mine');
      await expect(extract(blob, { force: was === 'filled' })).rejects.toMatchObject({ code: 'MISMATCH' });
      if (was === 'absent') expect(existsSync(at('out'))).toBe(false);
      if (was === 'empty') expect(await readdir(at('out'))).toEqual([]);
      if (was === 'filled') {
        expect(await readFile(at('out/mine'), 'utf8')).toBe('mine');
        expect(await readdir(at('out/d'))).not.toContain('last');
      }
    },
  );

  it('ends when it is cancelled', async () => {
    const files = Array.from({ length: 40 }, (_, i) => ({
      name: `f${i}`,
      content: noise(500_000, `${i}`).toString('latin1'),
    }));
    const image = await blobOf(files);
    const controller = new AbortController();
    const onProgress = (): void => {
      controller.abort();
    };
    await expect(extract(image, { signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    expect(existsSync(at('out'))).toBe(false);
  });
});

describe('nothing is written outside of the folder', () => {
  const { root } = Sketch;
  const sketched = (sketch: Sketch): Promise<string> => put('image', sketch.bytes);

  it.each(['/tmp', '../outside', '..', '.', '/', 'outside/../../outside'])(
    'by a link to %s',
    async (target) => {
      const image = await blobOf([
        { name: 'l', type: '2', target },
        { name: 'm', type: '1', target: 'l' },
        { name: 'd/l', type: '2', target: `../${target}` },
      ]);
      await extract(image);
      expect(readlinkSync(at('out/l'))).toBe(target);
      expect(readlinkSync(at('out/m'))).toBe(target);
      // Again, over the links that are there now.
      await extract(
        await blobOf([
          { name: 'l/kept', content: 'bad' },
          { name: 'd/l/new' },
          { name: 'm', content: 'file' },
        ]),
        { force: true },
      );
      expect(readFileSync(at('out/l/kept'), 'utf8')).toBe('bad');
      expect(lstatSync(at('out/m')).isFile()).toBe(true);
    },
  );

  it('by a name that is there twice, as a link and as a folder', async () => {
    const image = await sketched(
      new Sketch()
        .directory(root, 1, [
          ['l', 50],
          ['l', 40],
        ])
        .directory(40, 2, [['kept', 60]])
        .symlink(50, '../outside')
        .inode(60, {}),
    );
    await expect(extract(image)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(existsSync(at('out'))).toBe(false);
  });

  it.each(['../outside/new', 'a/b', '/outside'])('by the name %s', async (name) => {
    const image = await sketched(new Sketch().directory(root, 1, [[name, 60]]).inode(60, {}));
    await expect(extract(image)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('by entries for "." and ".." that lead elsewhere', async () => {
    const image = await sketched(
      new Sketch()
        .directory(root, 1, [
          ['.', 40],
          ['..', 60],
          ['d', 40],
        ])
        .directory(40, 2, [
          ['..', 60],
          ['f', 60],
        ])
        .inode(60, { mode: modes.file }),
    );
    await extract(image);
    expect(await readdir(at('out'))).toEqual(['d']);
    expect(await readdir(at('out/d'))).toEqual(['f']);
  });

  it('by what is in the folder already', async () => {
    await mkdir(at('out'));
    await symlink('../outside', at('out/dir'));
    await symlink('../outside/kept', at('out/file'));
    await symlink('../outside/new', at('out/dangling'));
    await symlink('../outside/kept', at('out/fifo'));
    await link(at('outside/kept'), at('out/hard'));
    await symlink('../outside', at('out/link'));
    const image = await blobOf([
      { name: 'dir/', type: '5', mode: 0o700 },
      { name: 'dir/kept', content: 'bad' },
      { name: 'file', content: 'bad', mode: 0o777 },
      { name: 'dangling', content: 'bad' },
      { name: 'fifo', type: '6', mode: 0o777 },
      { name: 'hard', content: 'bad', mode: 0o777 },
      { name: 'link', type: '2', target: 'dir' },
      { name: 'link2', type: '1', target: 'link' },
    ]);
    const { mode, mtimeMs } = await stat(at('outside/kept'));
    await extract(image, { force: true });
    expect(await stat(at('outside/kept'))).toMatchObject({ mode, mtimeMs, nlink: 1 });
    expect(await readFile(at('out/dir/kept'), 'utf8')).toBe('bad');
    expect(lstatSync(at('out/dir')).isDirectory()).toBe(true);
    expect(readlinkSync(at('out/link2'))).toBe('dir');
  });

  it('but not over a folder with a file', async () => {
    await mkdir(at('out/f'), { recursive: true });
    await writeFile(at('out/f/mine'), '');
    await expect(extract(await blobOf([{ name: 'f' }]), { force: true })).rejects.toEqual(
      refusal('IO', 'out/f'),
    );
    expect(await readdir(at('out/f'))).toEqual(['mine']);
  });

  it.each(['real', 'nowhere'])('by a link in the place of the folder, to %s', async (target) => {
    await mkdir(at('real'));
    await symlink(target, at('out'));
    const image = await blobOf([{ name: 'f', content: 'x' }]);
    await expect(extract(image, { force: true })).rejects.toEqual(refusal('USAGE', 'symbolic link'));
    expect(await readdir(at('real'))).toEqual([]);
  });
});
