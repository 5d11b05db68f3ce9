import { spawnSync } from 'node:child_process';
import { linkSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { startCli } from '../conformance/support/running';
import { tarHeader } from '../support/tar-bytes';
import { documentOf, runCli, runJson } from './run-cli';
import { filesUnder, makeTar, noise, sampleTar, writeLayout } from './sample';
import { at, encodeSample, expectFailure, folder, put, useFolders } from './workspace';

useFolders();

describe('an output that is one of the inputs is refused, and the input stays', () => {
  /** Under its own name, through a symbolic link, and under a second name. */
  function namesOf(name: string): string[] {
    symlinkSync(name, at('link'));
    linkSync(at(name), at('second'));
    return [name, 'link', 'second'];
  }

  async function expectRefused(input: string, args: (output: string) => string[]): Promise<void> {
    const before = await readFile(at(input));
    for (const name of namesOf(input)) {
      expect(await expectFailure(args(name), 2, 'USAGE'), name).toContain('would be replaced');
      expect(readFileSync(at(input)).equals(before), name).toBe(true);
    }
  }

  test.each(['build', 'encode'])('%s', async (command) => {
    await put('layer.tar', await sampleTar());
    await expectRefused('layer.tar', (output) => [command, 'layer.tar', output]);
  });

  test('decode: the blob, and the descriptor', async () => {
    await encodeSample();
    const args = ['--descriptor', 'descriptor.json'];
    await expectRefused('layer.blob', (output) => ['decode', 'layer.blob', output, ...args]);
    await expectFailure(['decode', 'layer.blob', 'descriptor.json', ...args], 2, 'USAGE');
  });

  test("decode: the place of the image's sidecar", async () => {
    await encodeSample('--dm-verity');
    await put('x.dmverity', await readFile(at('layer.blob')));
    const args = ['decode', 'x.dmverity', 'x', '--dm-verity', '--descriptor', 'descriptor.json'];
    await expectFailure(args, 2, 'USAGE');
    expect(await filesUnder(folder)).not.toContain('x');
  });

  test('convert: an archive onto itself, and onto files of the layout that it is made of', async () => {
    await writeLayout(at('layout'), [await sampleTar()]);
    await documentOf(['convert', 'oci:layout', 'oci-archive:image.tar:x'], { cwd: folder });
    await expectRefused('image.tar', (output) => [
      'convert',
      'oci-archive:image.tar',
      `oci-archive:${output}`,
    ]);
    const files = await filesUnder(at('layout'));
    for (const file of files) {
      const args = ['convert', 'oci:layout', `oci-archive:layout/${file}:x`];
      expect(await expectFailure(args, 2, 'USAGE'), file).toContain('would be replaced');
    }
  });

  test('convert: an archive that standard input is', async () => {
    await writeLayout(at('layout'), [await sampleTar()]);
    await documentOf(['convert', 'oci:layout', 'oci-archive:image.tar:x'], { cwd: folder });
    const script = `exec "$0" "$1" convert oci-archive:- oci-archive:image.tar <image.tar`;
    const program = join(__dirname, '../../dist/cli/main.js');
    const { status } = spawnSync('sh', ['-c', script, process.execPath, program], { cwd: folder });
    expect(status).toBe(2);
  });

  test('batch: its list, and its journal', async () => {
    await writeLayout(at('layout'), [await sampleTar()]);
    const jobs = ['jobs.json', 'jobs.json.journal'].map((file) => ({
      source: 'oci:layout',
      destination: `oci-archive:${file}`,
    }));
    await put('jobs.json', JSON.stringify(jobs));
    const { document } = await runJson<{ jobs: { status: string; error: { code: string } }[] }>(
      ['batch', 'jobs.json'],
      { cwd: folder },
    );
    expect(document.jobs.map(({ status, error }) => [status, error.code])).toEqual([
      ['failed', 'USAGE'],
      ['failed', 'USAGE'],
    ]);
  });
});

test("convert of a single image's name onto itself warns", async () => {
  await writeLayout(at('layout'), [await sampleTar()]);
  const onto = (destination: string) =>
    runCli(['convert', 'oci:layout:sample', destination], { cwd: folder });
  expect((await onto('oci:layout:other')).stderr).not.toContain('warning');
  symlinkSync('layout', at('same'));
  const { stderr, exitCode } = await onto('oci:same:sample');
  expect([exitCode, stderr]).toEqual([
    0,
    expect.stringMatching(/^warning: sample is the converted image now/),
  ]);
});

/** Enough work that a run can be met in the middle of it. */
const large = makeTar([{ name: 'noise', content: noise(24_000_000, 'large') }]);
const putLarge = async (): Promise<string> => put('large.tar', await large);

/** A tar of one file of zeros which takes no room: far more than is done before a signal comes. */
async function putHuge(size: number): Promise<void> {
  const file = await open(at('huge.tar'), 'w');
  await file.write(tarHeader({ name: 'zeros' }, size));
  await file.truncate(512 + size + 1024);
  await file.close();
}

/** The blob of such a tar, made once: it takes seconds. */
let hugeBlob: Buffer | undefined;
async function putHugeBlob(): Promise<void> {
  if (hugeBlob === undefined) {
    await putHuge(2 ** 31);
    await documentOf(['encode', 'huge.tar', 'huge.blob'], { cwd: folder });
    hugeBlob = await readFile(at('huge.blob'));
  }
  await put('huge.blob', hugeBlob);
}

/** The input of each, and the phase in which the output is written. */
const outputs: [name: string, args: string[], putInput: () => Promise<void>, phase: string][] = [
  ['build', ['build', 'huge.tar'], async () => putHuge(2 ** 33 - 512), 'write'],
  ['encode', ['encode', 'huge.tar'], async () => putHuge(2 ** 33 - 512), 'encode'],
  ['decode', ['decode', 'huge.blob'], putHugeBlob, 'decode'],
];

describe.each(outputs)('%s, ended in the middle', (_, args, putInput, phase) => {
  const start = async () => {
    await putInput();
    await mkdir(at('out'));
    await writeFile(at('out/file'), 'old');
    const running = startCli([...args, 'out/file', '--progress', 'json', '--threads', '1'], folder);
    await running.saw(new RegExp(`"phase":"${phase}"`));
    return running;
  };

  test('by SIGKILL leaves what was there, and nothing else', async () => {
    const { child, ended } = await start();
    child.kill('SIGKILL');
    expect((await ended).signal).toBe('SIGKILL');
    expect(await readdir(at('out'))).toEqual(['file']);
    expect(await readFile(at('out/file'), 'utf8')).toBe('old');
  });

  test.each([
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
    ['SIGTERM', 143],
  ] as const)('by %s ends with %d and leaves the same', async (signal, code) => {
    const { child, ended } = await start();
    child.kill(signal);
    const { exitCode, stderr } = await ended;
    expect(exitCode, stderr).toBe(code);
    expect(await readdir(at('out'))).toEqual(['file']);
  });
});

test('extract, killed in the middle, leaves nothing after the next run', async () => {
  await putLarge();
  await documentOf(['build', 'large.tar', 'image'], { cwd: folder });
  await mkdir(at('out'));
  const { child, ended } = startCli(['extract', 'image', 'out/dir', '--threads', '1'], folder);
  while (readdirSync(at('out')).length === 0 && child.exitCode === null) await nextTurn();
  child.kill('SIGKILL');
  expect((await ended).signal).toBe('SIGKILL');
  expect(await readdir(at('out'))).toEqual([expect.stringMatching(/^\.seekable-erofs-/)]);
  await documentOf(['extract', 'image', 'out/dir'], { cwd: folder });
  expect(await readdir(at('out'))).toEqual(['dir']);
});

test('SIGUSR1 shows how far a run is, and the run goes on', async () => {
  await putLarge();
  const args = ['encode', 'large.tar', 'blob', '--level', '15', '--threads', '1', '--progress', 'plain'];
  const running = startCli(args, folder);
  await running.saw(/encode blob/); // before that, Node itself might take the signal
  const asking = setInterval(() => running.child.kill('SIGUSR1'), 50);
  await running.saw(/^encode blob: [1-9]\d* % of [\d.]+ MB$/m);
  clearInterval(asking);
  expect((await running.ended).exitCode).toBe(0);
});

test('SIGUSR1 does not open the debugger, also before a command begins', async () => {
  // As the first of the program's modules is loaded, and as its largest one is.
  await writeFile(
    at('signal.cjs'),
    `const { Module } = require('node:module');
const load = Module._load;
Module._load = (request, ...rest) => {
  if (/program$|commander$/.test(request)) process.kill(process.pid, 'SIGUSR1');
  return load(request, ...rest);
};`,
  );
  const { exitCode, stderr } = await runCli(['doctor', '--help'], {
    cwd: folder,
    env: { NODE_OPTIONS: `--require ${at('signal.cjs')} --inspect-port=0` },
  });
  expect([exitCode, stderr]).toEqual([0, '']);
});

/** Runs the program by a shell, whose strings are bytes: `$'…'` of `sh` is `$(printf '…')`. */
function runShell(command: string): { status: number | null; stderr: string } {
  const program = join(__dirname, '../../dist/cli/main.js');
  const script = `seekable() { "${process.execPath}" "${program}" "$@"; }; ${command}`;
  return spawnSync('sh', ['-c', script], { cwd: folder, encoding: 'utf8' });
}

describe('names that are no UTF-8', () => {
  test('are refused, and never merged', async () => {
    await writeLayout(at('layout'), [await sampleTar()]);
    for (const byte of ['377', '376']) {
      const { status, stderr } = runShell(
        `seekable convert oci:layout "oci-archive:a$(printf '\\${byte}'):x"`,
      );
      expect([status, stderr]).toEqual([2, expect.stringContaining('not valid UTF-8')]);
    }
    const legal = runShell(`seekable convert oci:layout "oci-archive:a$(printf '\\357\\277\\275'):x"`);
    expect(legal.status, legal.stderr).toBe(0);
    expect(await readdir(folder)).toEqual(['a\ufffd', 'layout']);
  });

  test('are refused in lists', async () => {
    await put(
      'jobs.json',
      Buffer.from('[{"source":"oci:layout","destination":"oci-archive:a\xff"}]', 'latin1'),
    );
    expect(await expectFailure(['batch', 'jobs.json'], 2, 'USAGE')).toContain('not valid UTF-8');
  });
});

describe('a standard output that is closed', () => {
  test('takes no archive', async () => {
    await writeLayout(at('layout'), [await sampleTar()]);
    const { status, stderr } = runShell('seekable convert oci:layout oci-archive:- >&-');
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^error: standard output: it is closed/)]);
    expect(runShell('seekable convert oci:layout oci-archive:- >/dev/null').status).toBe(0);
  });

  test('takes no file', async () => {
    await encodeSample();
    const cat = 'seekable cat layer.blob /etc/hostname --descriptor descriptor.json';
    const { status, stderr } = runShell(`${cat} >&-`);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^error: standard output: it is closed/)]);
    expect(runShell(`${cat} >/dev/null`).status).toBe(0);
  });
});
