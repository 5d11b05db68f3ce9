import { createHash } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { filesUnder, makeTar } from '../e2e/sample';
import { at, folder, put, useFolders } from '../e2e/workspace';
import { digestOf, LayoutBuilder, oci } from './support/image';
import { writeSparseTar } from './support/sparse-tar';
import { checkCleanLayout } from './support/layout-check';
import { startCli, type Ending, type Running } from './support/running';

// The claim: SIGINT and SIGTERM end any run within a second of work, with exit code 130 or 143, and leave nothing behind.

useFolders();

/** Text without repetitions: zstd has to work for what it saves. */
const layer = makeTar(
  Array.from({ length: 24 }, (_, i) => ({ name: `file-${i}`, content: words(4 << 20, `${i}`) })),
);

function words(length: number, seed: string): string {
  const list = Array.from({ length: 1000 }, (_, i) =>
    createHash('md5').update(`${seed} ${i}`).digest('hex').slice(0, 7),
  );
  const numbers = createHash('shake256', { outputLength: length / 4 })
    .update(seed)
    .digest();
  let text = '';
  for (let i = 0; i + 1 < numbers.length; i += 2) text += `${list[numbers.readUInt16LE(i) % 1000]!} `;
  return text.slice(0, length);
}

const signals: [NodeJS.Signals, number][] = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
];

/** What the run had taken when it was last seen alive. */
async function lastCpuSeconds(running: Running): Promise<number | null> {
  let last: number | null = null;
  for (let now = running.cpuSeconds(); now !== null; now = running.cpuSeconds()) {
    last = now;
    await sleep(10);
  }
  return last;
}

/** Runs in the test's folder, sends the signal when `phase` is reported, and checks how it ends. */
async function interrupt(
  args: string[],
  phase: string,
  [signal, exitCode]: [NodeJS.Signals, number],
): Promise<Ending> {
  await mkdir(at('tmp'), { recursive: true });
  const running = startCli([...args, '--progress', 'json', '--tmp-dir', 'tmp'], folder);
  await running.saw(new RegExp(`"phase":"${phase}"`));
  const before = running.cpuSeconds();
  running.child.kill(signal);
  const after = await lastCpuSeconds(running);
  const ending = await running.ended;
  expect({ exitCode: ending.exitCode, signal: ending.signal }, ending.stderr).toEqual({
    exitCode,
    signal: null,
  });
  expect(before).toBeGreaterThan(0); // else it was not measured
  expect(after! - before!).toBeLessThan(1);
  const lines = ending.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  expect(lines).toEqual([expect.stringMatching(/^error: .+: (interrupted|terminated)$/)]);
  expect(await readdir(at('tmp'))).toEqual([]);
  return ending;
}

describe.each(signals)('%s', (...ending) => {
  test.each([
    ['in the middle of chunks at the slowest level', ['--level', '19', '--threads', '1']],
    [
      'with more threads than cores',
      ['--level', '12', '--threads', '8', '--dm-verity', '--chunk-size', '64KiB'],
    ],
  ])('encode, %s', async (_name, flags) => {
    await put('layer.tar', await layer);
    await put('blob', 'as it was');
    await interrupt(['encode', 'layer.tar', 'blob', ...flags], 'encode', ending);
    expect(await filesUnder(folder)).toEqual(['blob', 'layer.tar']);
    await interrupt(['encode', 'layer.tar', 'new-blob', ...flags], 'encode', ending);
    expect(await filesUnder(folder)).toEqual(['blob', 'layer.tar']);
  });

  test('encode, while a gzip is inflated', async () => {
    const members = Array<Buffer>(16).fill(gzipSync(await layer, { level: 1 }));
    await put('layer.tar.gz', Buffer.concat(members)); // 1.6 GB: seconds of work
    await interrupt(['encode', 'layer.tar.gz', 'blob'], 'inflate', ending);
    expect(await filesUnder(folder)).toEqual(['layer.tar.gz']);
  });

  test('decode', async () => {
    writeSparseTar(at('layer.tar'), 2 ** 30);
    await documentOf(['encode', 'layer.tar', 'blob', '--dm-verity'], { cwd: folder });
    await interrupt(
      ['decode', 'blob', 'image', '--dm-verity', '--threads', '1', '--quiet'],
      'decode',
      ending,
    );
    expect(await filesUnder(folder)).toEqual(['blob', 'layer.tar']);
  });

  describe('convert', () => {
    const convert = async (destination: string): Promise<Ending> => {
      const source = new LayoutBuilder(at('source'));
      const quick = source.tarLayer(await makeTar([{ name: 'small', content: 'done before' }]));
      const slow = { descriptor: source.put(oci.tar, await layer), diffId: digestOf(await layer) };
      source.name(source.image([quick, slow]));
      return interrupt(['convert', 'oci:source', destination, '--level', '15'], 'encode', ending);
    };
    const others = async (): Promise<string[]> =>
      (await readdir(folder)).filter((name) => name !== 'source' && name !== 'tmp');

    test('to a new layout: there is none', async () => {
      await convert('oci:new:image');
      expect(await others()).toEqual([]);
    });

    test('to an empty folder: it is empty still', async () => {
      await mkdir(at('empty'));
      await convert('oci:empty:image');
      expect(await readdir(at('empty'))).toEqual([]);
    });

    test('to a layout with an image: it is as it was', async () => {
      const old = new LayoutBuilder(at('old'));
      old.name(old.image([old.tarLayer(await makeTar([{ name: 'old', content: 'old' }]))]), 'old');
      await convert('oci:old:image');
      expect(checkCleanLayout(at('old'))).toEqual(['old']);
    });

    test('to an archive: there is none, and the one that was there stays', async () => {
      await convert('oci-archive:new.tar:image');
      expect(await others()).toEqual([]);
      await writeFile(at('old.tar'), 'as it was');
      await convert('oci-archive:old.tar:image');
      expect(await others()).toEqual(['old.tar']);
    });
  });
});
