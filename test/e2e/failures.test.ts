import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rootOnly, titleOf } from '../conformance/support/machine';
import { runCli, runJson } from './run-cli';
import { filesUnder, makeTar, noise, sampleTar } from './sample';
import { at, encodeSample, expectFailure, folder, put, useFolders, type ErrorDocument } from './workspace';

useFolders();

const isRoot = rootOnly === null;

describe('failures leave nothing half-written', () => {
  test('a source that does not exist', async () => {
    for (const command of ['build', 'encode', 'decode']) {
      expect(await expectFailure([command, 'missing', 'out'], 1, 'NOT_FOUND')).toContain('missing');
    }
    for (const command of ['inspect', 'verify']) await expectFailure([command, 'missing'], 1, 'NOT_FOUND');
    expect(await filesUnder(folder)).toEqual([]);
  });

  test('a folder in place of a source', async () => {
    await mkdir(at('dir'));
    const { exitCode, stderr } = await runCli(['encode', 'dir', 'out'], { cwd: folder });
    expect([1, 2]).toContain(exitCode);
    expect(stderr).toMatch(/^error: dir: .+\n$/);
    expect(await readdir(folder)).toEqual(['dir']);
  });

  test('a source that may not be read', async () => {
    const tar = await put('layer.tar', await sampleTar());
    await chmod(tar, isRoot ? 0o600 : 0);
    await chmod(folder, 0o777);
    const options = { cwd: folder, ...(isRoot ? { uid: 65534 } : {}) };
    const { exitCode, document } = await runJson<ErrorDocument>(['encode', 'layer.tar', 'out'], options);
    expect(exitCode).toBe(1);
    expect(document.error.code).toBe('IO');
    expect(document.error.message).toContain('permission denied');
    expect(await readdir(folder)).toEqual(['layer.tar']);
  });

  test('a folder that is missing', async () => {
    await put('layer.tar', await sampleTar());
    for (const command of ['build', 'encode']) {
      expect(await expectFailure([command, 'layer.tar', 'no/out'], 1, 'NOT_FOUND')).toContain('no');
    }
    expect(await filesUnder(folder)).toEqual(['layer.tar']);
  });

  test.each([
    ['a gzip cut short', async () => gzipSync(await sampleTar()).subarray(0, 100_000)],
    ['a tar cut short', async () => (await sampleTar()).subarray(0, 100_000)],
    ['a tar header with a wrong checksum', async () => Buffer.from(await sampleTar()).fill('x', 148, 154)],
  ])('%s is exit 3, and what was there stays', async (_name, make) => {
    await put('layer', await make());
    await put('out', 'as it was');
    for (const command of ['build', 'encode']) {
      const { exitCode, stderr } = await runCli([command, 'layer', 'out'], { cwd: folder });
      expect(exitCode, stderr).toBe(3);
      expect(stderr).toMatch(/^error: .+: .+\n$/);
    }
    expect(await readFile(at('out'), 'utf8')).toBe('as it was');
    expect(await filesUnder(folder)).toEqual(['layer', 'out']);
  });

  test('what is no layer at all is refused', async () => {
    await put('layer', noise(10_000, 'no layer'));
    const { exitCode, stderr } = await runCli(['encode', 'layer', 'out'], { cwd: folder });
    expect([2, 3]).toContain(exitCode);
    expect(stderr).toMatch(/^error: layer: .+\n$/);
    expect(await filesUnder(folder)).toEqual(['layer']);
  });

  describe.skipIf(rootOnly !== null)(titleOf('a full disk', rootOnly), () => {
    let disk: string;
    beforeAll(async () => {
      disk = await mkdtemp(join(tmpdir(), 'cli-e2e-disk-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', disk]);
    });
    afterAll(async () => {
      execFileSync('umount', [disk]);
      await rm(disk, { recursive: true });
    });

    test.each(['build', 'encode'])('under the output of %s', async (command) => {
      const tar = await put('layer.tar', await sampleTar());
      await expectFailure([command, tar, join(disk, 'out')], 1, 'NO_SPACE');
      expect(await readdir(disk)).toEqual([]);
    });

    test('under --tmp-dir', async () => {
      // A layer of 8 MiB and less needs no file.
      const large = await makeTar([{ name: 'f', content: noise(9_000_000, 'full disk') }]);
      const tar = await put('layer.tar.gz', gzipSync(large));
      await expectFailure(['encode', tar, 'out', '--tmp-dir', disk], 1, 'NO_SPACE');
      expect(await readdir(disk)).toEqual([]);
      expect(await filesUnder(folder)).toEqual(['layer.tar.gz']);
    });
  });

  test.each<[NodeJS.Signals, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('%s is exit %d', async (signal, exitCode) => {
    // Level 19 takes many seconds for this: the signal comes long before the end.
    await put('layer.tar', await makeTar([{ name: 'f', content: noise(24_000_000, 'signals') }]));
    await mkdir(at('tmp'));
    const args = ['encode', 'layer.tar', 'out', '--level', '19', '--threads', '1', '--chunk-size', '1MiB'];
    const run = await runJson<ErrorDocument>([...args, '--progress', 'json', '--tmp-dir', 'tmp'], {
      cwd: folder,
      signalAt: { pattern: /"phase":"encode"/, signal },
    });
    expect({ exitCode: run.exitCode, signal: run.signal }).toEqual({ exitCode, signal: null });
    expect(run.document.error.code).toBe('CANCELLED');
    expect(run.stderr).toMatch(/\nerror: .+: (interrupted|terminated)\n$/);
    expect(await filesUnder(folder)).toEqual(['layer.tar']);
  });
});

test('errors about parts of a file name the file', async () => {
  const { blob, descriptor } = await encodeSample('--dm-verity');
  const bytes = await readFile(blob);
  const flipped = (place: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[place]! ^= 0xff;
    return copy;
  };
  const tar = await readFile(at('layer.tar'));
  await put('frame', flipped(30));
  await put('tree', flipped(bytes.length - 20));
  await put('cut.tar', tar.subarray(0, 100_000));
  await put('header.tar', Buffer.concat([Buffer.from('x'), tar.subarray(1)]));
  await put('cut.gz', gzipSync(tar).subarray(0, 500));
  const cases: [string, string[]][] = [
    ['frame', ['decode', 'frame', 'out', '--descriptor', descriptor]],
    ['tree', ['decode', 'tree', 'out', '--descriptor', descriptor]],
    ['frame', ['verify', 'frame', '--descriptor', descriptor]],
    ['cut.tar', ['build', 'cut.tar', 'out']],
    ['cut.tar', ['encode', 'cut.tar', 'out']],
    ['header.tar', ['build', 'header.tar', 'out']],
    ['cut.gz', ['build', 'cut.gz', 'out']],
  ];
  for (const [name, args] of cases) {
    const { exitCode, stderr } = await runCli(args, { cwd: folder });
    expect([exitCode, stderr], args.join(' ')).toEqual([3, expect.stringMatching(`^error: ${name}: `)]);
  }
});
