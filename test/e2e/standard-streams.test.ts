import { spawnSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documentOf, runCli, runJson } from './run-cli';
import { sampleTar, sha256, writeLayout } from './sample';
import { at, encodeSample, expectFailure, folder, put, useFolders, type ErrorDocument } from './workspace';

// The claim: `-` is standard input or output, or is refused; nothing called so is ever read or made.

useFolders();

test('a layer comes from standard input, and what it becomes goes to standard output', async () => {
  const tar = await put('layer.tar', await sampleTar());
  const { diffId } = await documentOf<{ diffId: string }>(['build', tar, 'image'], { cwd: folder });
  const built = await runCli(['build', '-', '-'], { cwd: folder, input: await readFile(tar) });
  expect([built.exitCode, sha256(built.stdout)], built.stderr).toEqual([0, diffId]);
  expect(built.stderr).toContain(diffId);
  const { digest } = await documentOf<{ digest: string }>(['encode', 'image', 'blob'], { cwd: folder });
  const encoded = await runCli(['encode', '-', '-'], { cwd: folder, input: await readFile(at('image')) });
  expect(sha256(encoded.stdout), encoded.stderr).toBe(digest);
  const decoded = await runCli(['decode', '-', '-'], { cwd: folder, input: encoded.stdout });
  expect(sha256(decoded.stdout), decoded.stderr).toBe(diffId);
  expect((await readdir(folder)).sort()).toEqual(['blob', 'image', 'layer.tar']);
});

test('every command that reads a layer reads it from standard input', async () => {
  const { encoded } = await encodeSample();
  const input = await readFile(at('layer.blob'));
  const flags = ['--descriptor', 'descriptor.json'];
  for (const command of ['inspect', 'verify', 'ls']) {
    const { document, exitCode, stderr } = await runJson([command, '-', ...flags], { cwd: folder, input });
    const file = await documentOf([command, 'layer.blob', ...flags], { cwd: folder });
    expect([exitCode, document], stderr).toEqual([0, file]);
  }
  const cat = await runCli(['cat', '-', '/etc/hostname', ...flags], { cwd: folder, input });
  expect(cat.stdout.toString()).toBe('sample\n');
  const check = await runJson(['check', 'layer.tar', '-', ...flags], { cwd: folder, input });
  expect(check.exitCode, check.stderr).toBe(0);
  const descriptor = Buffer.from(JSON.stringify(encoded));
  await documentOf(['verify', 'layer.blob', '--descriptor', '-'], { cwd: folder, input: descriptor });
});

test.each([
  ['twice', ['check', '-', '-']],
  ['a document beside data', ['build', 'layer.tar', '-', '--json']],
  ['a sidecar beside it', ['decode', 'layer.blob', '-', '--dm-verity', '--descriptor', 'descriptor.json']],
  ['a folder of files', ['extract', 'layer.blob', '-', '--descriptor', 'descriptor.json']],
  ['a layout', ['convert', 'oci:layout', 'oci:-']],
  ['a layout that is read', ['ls', 'oci:-']],
  ['a layer cache', ['convert', 'oci:layout', 'erofs-cache:-']],
  ['a cache', ['convert', 'oci:layout', 'oci:new', '--cache', '-']],
  ['a list with a journal', ['batch', '-']],
  ['a folder for temporary files', ['ls', 'layer.blob', '--tmp-dir', '-']],
  ['a folder to mount on', ['mount', 'layer.blob', '-']],
])('is refused as %s', async (_what, args) => {
  await encodeSample('--dm-verity');
  await writeLayout(at('layout'), [await sampleTar()]);
  const before = await readdir(folder);
  const json = args.includes('--json') ? [] : ['--json'];
  const { exitCode, stdout, stderr } = await runCli([...args, ...json], { cwd: folder });
  expect(exitCode, stderr).toBe(2);
  expect((JSON.parse(stdout.toString()) as ErrorDocument).error.code).toBe('USAGE');
  expect(await readdir(folder)).toEqual(before);
});

test('/dev/stdin says why not', async () => {
  await encodeSample();
  const program = join(__dirname, '../../dist/cli/main.js');
  const script = 'cat layer.blob | "$0" "$1" verify /dev/stdin';
  const { status, stderr } = spawnSync('sh', ['-c', script, process.execPath, program], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([2, expect.stringContaining('`-` is standard input')]);
  expect(await expectFailure(['verify', '.'], 2, 'USAGE')).not.toContain('standard input');
});
