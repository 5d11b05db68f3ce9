import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { readImageFile, type ListedEntry } from '../../src/index';
import { goldenFile, goldenImages, recordedTree } from '../erofs/erofs-images';
import { documentOf, runCli, runJson } from './run-cli';
import { makeTar, sampleTar, writeLayout } from './sample';
import { asRecorded, withoutContents } from './support/golden-trees';
import { at, expectFailure, keys, put, useFolders, type Encoded } from './workspace';

useFolders();

/** An image as a file and as a blob, with the flags to read each. */
async function forms(name: string): Promise<{ form: string; args: string[] }[]> {
  const raw = await put('image.erofs', goldenFile(name));
  const blob = at('image.blob');
  const encoded = await documentOf<Encoded>(['encode', raw, blob, '--chunk-size', '16KiB']);
  const descriptor = await put('descriptor.json', JSON.stringify(encoded));
  const device = name.startsWith('tar-index')
    ? ['--device', await put('ref.tar', goldenFile('ref.tar'))]
    : [];
  return [
    { form: 'raw', args: [raw, ...device] },
    { form: 'blob', args: [blob, '--descriptor', descriptor, ...device] },
  ];
}

async function digestOf(args: string[], path: string): Promise<string> {
  const hash = createHash('sha256');
  const [file = '', ...flags] = args;
  const flag = (name: string): string | undefined => flags[flags.indexOf(name) + 1];
  const write = (bytes: Buffer): Promise<boolean> => {
    hash.update(bytes);
    return Promise.resolve(true);
  };
  // As the program calls it: a process for each of some thousand files would take minutes.
  await readImageFile(file, path, write, flags.includes('--device') ? { devices: [flag('--device')!] } : {});
  return hash.digest('hex');
}

describe('images of mkfs.erofs list and read as a kernel shows them', () => {
  test.each(goldenImages().filter(({ tree }) => tree !== undefined))('$name', async ({ name, tree }) => {
    const recorded = recordedTree(tree);
    for (const { form, args } of await forms(name)) {
      const listed = await documentOf<ListedEntry[]>(['ls', ...args, '--recursive']);
      expect(asRecorded(listed), form).toEqual(withoutContents(recorded));
      for (const { path, type, sha256 } of recorded) {
        if (type === 'file') expect(await digestOf(args, path), `${form} ${path}`).toBe(sha256);
      }
      const [subject = '', ...flags] = args;
      const odd = recorded.find(({ path, type }) => type === 'file' && path.includes('\\xff'))!;
      const { stdout, exitCode, stderr } = await runCli(['cat', subject, odd.path, ...flags]);
      expect(exitCode, stderr).toBe(0);
      expect(createHash('sha256').update(stdout).digest('hex')).toBe(odd.sha256);
    }
  });

  test('a file of 5 GiB of holes', async () => {
    const { files } = goldenImages().find(({ name }) => name.startsWith('dir-5g'))!;
    for (const { args } of await forms('dir-5g-holes-chunk1m.erofs')) {
      const listed = await documentOf<ListedEntry[]>(['ls', ...args, '--recursive']);
      const sizes = listed.filter(({ type }) => type === 'file').map(({ path, size }) => [path, size]);
      expect(sizes).toEqual(Object.entries(files!).map(([path, { size }]) => [path, size]));
      expect(await digestOf(args, '/small')).toBe(files!['/small']!.sha256);
    }
  });
});

describe('ls', () => {
  const layer = async (): Promise<string> => {
    await documentOf(['build', await put('layer.tar', await sampleTar()), at('layer.erofs')]);
    return at('layer.erofs');
  };

  test('--json has every key of an entry', async () => {
    const [entry] = await documentOf<ListedEntry[]>(['ls', await layer(), '/etc/hostname']);
    expect(keys(entry!)).toEqual(
      [
        'path',
        'ino',
        'type',
        'mode',
        'uid',
        'gid',
        'size',
        'mtime',
        'nlink',
        'target',
        'rdev',
        'xattrs',
      ].sort(),
    );
    expect(entry).toMatchObject({
      path: '/etc/hostname',
      type: 'file',
      size: 7,
      mtime: '1700000000.000000000',
    });
  });

  test('a directory shows its children, with -R itself and everything below, by the bytes of whole paths', async () => {
    const image = await layer();
    const paths = async (...args: string[]): Promise<string[]> =>
      (await documentOf<ListedEntry[]>(['ls', image, ...args])).map(({ path }) => path);
    expect(await paths()).toEqual(['/etc', '/usr']);
    expect(await paths('/etc/')).toEqual(['/etc/hostname', '/etc/link']);
    expect(await paths('etc/link')).toEqual(['/etc/link']);
    expect(await paths('/usr/../usr/bin', '-R')).toEqual(['/usr/bin', '/usr/bin/tool', '/usr/bin/tool-too']);
    const all = await paths('--recursive');
    expect(all[0]).toBe('/');
    expect(all).toEqual([...all].sort());
    expect(all).toHaveLength(9 + 1);
  });

  test('prints like ls -l', async () => {
    const image = await layer();
    const lines = (await runCli(['ls', image, '/etc'])).stdout.toString().split('\n');
    expect(lines).toEqual([
      '-rw-r--r--  1  0  0  7  2023-11-14 22:13:20  hostname',
      'lrwxrwxrwx  1  0  0  8  2023-11-14 22:13:20  link -> hostname',
      '',
    ]);
    const tool = (await runCli(['ls', image, '/usr/bin', '-R'])).stdout.toString().split('\n')[1];
    expect(tool).toBe('-rwsr-xr-x  2  1000  1000  300000  2023-11-14 22:13:20  /usr/bin/tool');
  });

  test('a path that is not there, a tar, a layer that is not there', async () => {
    const image = await layer();
    expect(await expectFailure(['ls', image, '/etc/none'], 1, 'NOT_FOUND')).toContain('/etc/none');
    expect(await expectFailure(['ls', image, '/etc/hostname/x'], 1, 'NOT_FOUND')).toContain(
      '/etc/hostname/x',
    );
    expect(await expectFailure(['ls', image, 'bad\\escape'], 2, 'USAGE')).toContain('\\x');
    expect(await expectFailure(['ls', at('layer.tar')], 2, 'USAGE')).toContain('encode');
    expect(await expectFailure(['ls', image, '--one-layer', '1'], 1, 'NOT_FOUND')).toContain('single layer');
    await writeLayout(at('layout'), [await sampleTar()]);
    const oci = `oci:${at('layout')}`;
    expect(await expectFailure(['ls', oci], 2, 'USAGE')).toContain('convert');
    await documentOf(['convert', oci, `oci:${at('converted')}`]);
    expect(
      await expectFailure(['ls', `oci:${at('converted')}`, '--one-layer', '7'], 1, 'NOT_FOUND'),
    ).toContain('7');
    await expectFailure(['ls', `oci:${at('converted')}`, '--device', image], 2, 'USAGE');
    await expectFailure(['ls', image, '--platform', 'linux/amd64'], 2, 'USAGE');
  });

  test('of an image, the platform that is asked for', async () => {
    await writeLayout(at('layout'), [await makeTar([{ name: 'f' }])], {
      platforms: ['linux/amd64', 'linux/s390x'],
    });
    await documentOf(['convert', `oci:${at('layout')}`, `oci:${at('dst')}`, '--all-platforms']);
    const { document } = await runJson<ListedEntry[]>([
      'ls',
      `oci:${at('dst')}`,
      '--platform',
      'linux/s390x',
    ]);
    expect(document.map(({ path }) => path)).toEqual(['/f']);
    await expectFailure(['ls', `oci:${at('dst')}`, '--platform', 'linux/mips'], 1, 'NOT_FOUND');
  });

  test('is what inspect shows as tree, to a depth', async () => {
    const image = await layer();
    const all = await documentOf<ListedEntry[]>(['ls', image, '-R']);
    const blob = at('layer.blob');
    const descriptor = await put(
      'descriptor.json',
      JSON.stringify(await documentOf(['encode', image, blob])),
    );
    for (const args of [[image], [blob, '--descriptor', descriptor]]) {
      for (const depth of [0, 1, 2, 3]) {
        const { tree } = await documentOf<{ tree: ListedEntry[] }>([
          'inspect',
          ...args,
          '--depth',
          `${depth}`,
        ]);
        expect(tree).toEqual(all.filter(({ path }) => path.split('/').filter(Boolean).length <= depth));
      }
      const text = (await runCli(['inspect', ...args])).stdout.toString();
      expect(text).toMatch(/^metadata +\d+ of the image's \d+ \(\d+\.\d %\)$/m);
      expect(text).toMatch(/^ +lrwxrwxrwx .* \/etc\/link -> hostname$/m);
    }
    const { tree } = await documentOf<{ tree: null }>(['inspect', at('layer.tar')]);
    expect(tree).toBeNull();
  });
});
