import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { run, titleOf, whyNoMounts, whyWithout } from '../conformance/support/machine';
import { extractTar } from '../conformance/support/system-tar';
import { goldenFile } from '../erofs/erofs-images';
import { installedMkfs, writeStandIn } from '../support/mkfs';
import { documentOf, runCli, runJson } from './run-cli';
import { filesUnder, makeTar, noise, sha256, writeLayout } from './sample';
import { at, expectFailure, folder, put, useFolders, type Encoded } from './workspace';

useFolders();
afterEach(() => {
  delete process.env['MKFS_EROFS'];
});

const mkfs = installedMkfs();
const walker = `${__dirname}/../conformance/support/walk.py`;

interface Built {
  diffId: string;
  size: number;
  inodes: number;
  blockSize: number;
}
interface Converted {
  manifests: { layers: { diffId: string; reused: boolean }[] }[];
}

/** A layer about which mkfs.erofs has no opinion of its own: the root and all parents have entries. */
const layer = (): Promise<Buffer> => {
  const tool = { mode: 0o4755, uid: 1000, gid: 1000 };
  return makeTar([
    { name: './', type: 'directory', mode: 0o755 },
    { name: 'bin/', type: 'directory', mode: 0o711, mtime: new Date(1_600_000_000_000) },
    { name: 'bin/tool', ...tool, content: noise(300_000, 'tool') },
    { name: 'bin/tool-too', ...tool, type: 'link', linkname: 'bin/tool' },
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/empty', mode: 0o600 },
    { name: 'etc/link', type: 'symlink', mode: 0o777, linkname: '../bin/tool' },
    { name: 'etc/text', mode: 0o640, uid: 7, gid: 70_000, content: 'all work and no play\n'.repeat(15_000) },
    { name: 'pipe', type: 'fifo', mode: 0o622 },
  ]);
};

/** Puts a script in the place of mkfs.erofs. */
async function useStandIn(script: string, version?: string): Promise<void> {
  const options = version === undefined ? { script } : { script, version, versionExit: 1 };
  process.env['MKFS_EROFS'] = writeStandIn(at('tool'), options);
}

describe('--mkfs', () => {
  const commands = [
    ['build', 'layer.tar', 'out'],
    ['encode', 'layer.tar', 'out'],
    ['convert', 'oci:layout', 'oci:out'],
  ];

  test('ends with exit code 4 where mkfs.erofs is too old, and leaves nothing', async () => {
    await useStandIn('exit 1', '1.5');
    await put('layer.tar', await layer());
    await writeLayout(at('layout'), [await layer()]);
    for (const command of commands) {
      for (const flags of [['--mkfs', '-zlz4'], ['--mkfs-tar-index']]) {
        const message = await expectFailure([...command, ...flags], 4, 'MACHINE');
        expect(message).toContain('it is version 1.5 (install erofs-utils 1.8 or newer');
      }
    }
    expect(await filesUnder(at('out'))).toEqual([]);
    expect((await readdir(folder)).sort()).toEqual(
      expect.not.arrayContaining([expect.stringMatching(/^\.seek/)]),
    );
  });

  test('and --mkfs-tar-index are wrong usage together, and so are options that are files', async () => {
    for (const command of commands) {
      await expectFailure([...command, '--mkfs', '', '--mkfs-tar-index'], 2, 'USAGE');
      await put('layer.tar', await layer());
      if (command[0] !== 'convert') await expectFailure([...command, '--mkfs', 'victim'], 2, 'USAGE');
    }
  });

  test('builds the layers that convert makes of tars, and leaves those that are EROFS', async () => {
    await put('golden', goldenFile('tar-lz4.erofs'));
    await useStandIn(`cat >/dev/null; cat '${at('golden')}' >"$IMAGE"`);
    await writeLayout(at('layout'), [goldenFile('ref.tar')]);
    const args = ['--mkfs', '-zlz4', '--json'];
    const options = { cwd: folder };
    const first = await runJson<Converted>(['convert', 'oci:layout', 'oci:one', ...args], options);
    expect(first.document.manifests[0]!.layers).toMatchObject([
      { diffId: sha256(goldenFile('tar-lz4.erofs')), reused: false },
    ]);
    const again = await runJson<Converted>(['convert', 'oci:one', 'oci:two', ...args], options);
    expect(again.document.manifests[0]!.layers[0]!.reused).toBe(true);
    expect(again.stderr).toMatch(/^warning: .*: it is EROFS already, so --mkfs has no effect on it\n$/);
  });

  test('is stopped by SIGTERM, and leaves nothing', async () => {
    await useStandIn('cat >/dev/null; sleep 3600');
    await put('layer.tar', await layer());
    const stop = { pattern: /"phase":"mkfs"/, signal: 'SIGTERM' } as const;
    const args = ['build', 'layer.tar', 'out', '--mkfs', '', '--progress', 'json', '--tmp-dir', '.'];
    const { exitCode } = await runCli(args, { cwd: folder, signalAt: stop });
    expect(exitCode).toBe(143);
    expect((await readdir(folder)).sort()).toEqual(['layer.tar', 'tool']);
  });
});

describe.skipIf(mkfs.reason !== null)(titleOf('the installed mkfs.erofs', mkfs.reason), () => {
  const useInstalled = (): void => {
    process.env['MKFS_EROFS'] = mkfs.path!;
  };
  const build = (out: string, ...flags: string[]) =>
    documentOf<Built>(['build', ...flags, out], { cwd: folder });

  test('compresses inside, and makes the same image each time', async () => {
    useInstalled();
    const tar = await layer();
    await put('layer.tar', tar);
    await put('layer.tar.gz', gzipSync(tar));
    const built = await build('one', 'layer.tar', '--mkfs', '-zlz4 -C16384');
    const image = await readFile(at('one'));
    expect(built).toEqual({ diffId: sha256(image), size: image.length, inodes: 8, blockSize: 4096 });
    expect(image.length).toBeLessThan(350_000); // of its text, little is left
    await new Promise((resolve) => setTimeout(resolve, 1100)); // the time of day must not matter
    for (const source of ['layer.tar', 'layer.tar.gz']) {
      await build('two', source, '--mkfs', '-zlz4 -C16384');
      expect((await readFile(at('two'))).equals(image)).toBe(true);
    }
    expect(await build('other', 'layer.tar', '--mkfs', '-zlz4  -C16384')).not.toEqual(built);
  });

  test.each([[['--mkfs', '-zlz4']], [['--mkfs', '']], [['--mkfs-tar-index']]])(
    'makes an image that has all that is in the tar: %j',
    async (flags) => {
      useInstalled();
      const tar = await put('layer.tar', await layer());
      await build('image', tar, ...flags);
      expect(await documentOf(['check', tar, at('image')])).toMatchObject({ ok: true, entries: 9 });
    },
  );

  test.each([
    [['--mkfs', '-zlz4'], 4096],
    [['--mkfs-tar-index'], 512],
  ])(
    'makes an image that wraps, with a tree of blocks that it can be mounted over: %j',
    async (flags, blockSize) => {
      useInstalled();
      const tar = await put('layer.tar', await layer());
      const built = await build('image', tar, ...flags);
      const encoded = await documentOf<Encoded>(['encode', tar, at('blob'), '--dm-verity', ...flags]);
      expect(encoded).toMatchObject({ diffId: built.diffId, uncompressedSize: built.size });
      const descriptor = await put('descriptor.json', JSON.stringify(encoded));
      const args = [at('blob'), '--descriptor', descriptor];
      expect(await documentOf(['verify', ...args])).toMatchObject({ layers: [{ merkle: 'ok' }] });
      const { dmverity } = await documentOf<{ dmverity: object }>(['inspect', ...args]);
      expect(dmverity).toMatchObject({ dataBlockSize: blockSize, hashBlockSize: blockSize });
      const { stdout } = await runCli(['cat', ...args, '/etc/text']);
      expect(stdout.toString()).toBe('all work and no play\n'.repeat(15_000));
    },
  );

  test('says what it does not like', async () => {
    useInstalled();
    const tar = await put('layer.tar', await layer());
    const message = await expectFailure(['build', tar, at('out'), '--mkfs', '-zrot13'], 1, 'FAILED');
    expect(message).toContain('rot13');
    expect(await filesUnder(folder)).toEqual(['layer.tar']);
  });

  const noVerity = whyWithout('veritysetup');
  test.skipIf(noVerity !== null)(
    titleOf('cryptsetup accepts the tree of a tar index', noVerity),
    async () => {
      useInstalled();
      const tar = await put('layer.tar', await layer());
      const encoded = await documentOf(['encode', tar, at('blob'), '--dm-verity', '--mkfs-tar-index']);
      await writeFile(at('descriptor.json'), JSON.stringify(encoded));
      const { dmverity } = await documentOf<{ dmverity: { rootDigest: string; hashOffset: number } }>([
        ...['decode', at('blob'), at('image'), '--dm-verity', '--descriptor', at('descriptor.json')],
      ]);
      const verify = ['verify', at('image'), at('image'), dmverity.rootDigest.slice('sha512:'.length)];
      run('veritysetup', [...verify, `--hash-offset=${dmverity.hashOffset}`]);
    },
  );

  const reason = whyNoMounts();
  describe.skipIf(reason !== null)(titleOf('the kernel', reason), () => {
    const walk = (tree: string): string[] =>
      run('python3', [walker, tree]).toString('latin1').trimEnd().split('\n');

    test.each([[['--mkfs', '-zlz4']], [['--mkfs-tar-index']]])(
      'shows what is in the tar: %j',
      async (flags) => {
        useInstalled();
        const tar = await put('layer.tar', await layer());
        await build('image', tar, ...flags);
        for (const name of ['mounted', 'extracted']) mkdirSync(at(name));
        extractTar(tar, at('extracted'));
        run('mount', ['-t', 'erofs', '-o', 'loop,ro', at('image'), at('mounted')]);
        try {
          const entries = walk(at('mounted'));
          expect(entries).toHaveLength(9);
          expect(entries).toEqual(walk(at('extracted')));
        } finally {
          spawnSync('umount', [at('mounted')]);
        }
      },
    );
  });
});
