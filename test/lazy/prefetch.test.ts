import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildErofs, openErofs } from '../../src';
import type { TraceRead } from '../../src/format/trace';
import { prefetchReads } from '../../src/lazy/prefetch';
import { openFileSource, type FileSource } from '../../src/source/file';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
let source: FileSource;
let wanted: number[];
const at = (name: string): string => join(folder, name);
const chunkSize = 4096;
const own = `sha256:${'1'.repeat(64)}`;
const other = `sha256:${'2'.repeat(64)}`;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prefetch-'));
  wanted = [];
  const entries = ['a', 'b', 'c'].map((name) => ({ name, content: name.repeat(40_960) }));
  await writeFile(at('tar'), tarBytes(entries));
  await buildErofs(at('tar'), at('image'));
  source = await openFileSource(at('image'));
});
afterEach(async () => {
  await source.close();
  await rm(folder, { recursive: true, force: true });
});

/** What is asked for; chunks are `blocks` blocks of the image. */
async function ask(reads: readonly TraceRead[], size = chunkSize): Promise<number[]> {
  const starts = Float64Array.from({ length: Math.ceil(source.size / chunkSize) + 1 }, (_, i) => i * size);
  const layer = { starts, want: (chunk: number) => wanted.push(chunk), asSource: () => source };
  await prefetchReads(
    layer,
    source.size,
    { diffId: own, image: { manifest: 'm', diffIds: [own, other] } },
    reads,
  );
  return wanted;
}

const read = (path: string, ranges: [number, number][], layer = own): TraceRead => ({
  path,
  layer,
  ranges,
  firstMs: 0,
});
async function firstBlockOf(path: string): Promise<number> {
  const image = await openErofs(source);
  for await (const { address } of await image.extents(path)) return address / chunkSize;
  throw new Error(`${path} has no data`);
}

test('the chunks of what was read are asked for once, in the order of the trace', async () => {
  const [a, b] = [await firstBlockOf('/a'), await firstBlockOf('/b')];
  const reads = [
    read('/b', [
      [0, 1],
      [4096, 100],
      [8191, 2],
    ]),
    read('/a', [[40_000, 1000]]),
  ];
  expect(await ask(reads)).toEqual([b, b + 1, b + 2, a + 9]);
});

test('no ranges are the whole file; what is not there, or of another layer, is passed over', async () => {
  const c = await firstBlockOf('/c');
  const reads = [read('/a', [], other), read('/gone', []), read('/', []), read('/c', [])];
  expect(await ask(reads)).toEqual(Array.from({ length: 10 }, (_, i) => c + i));
});

test('a trace of more than programs read is followed as far as a hot part goes', async () => {
  // Chunks of 64 MiB each, as the layer says.
  const reads = ['/a', '/b', '/c'].map((path) => read(path, []));
  const starts = Float64Array.from({ length: 100 }, (_, i) => (i < 2 ? i * 4096 : i * (64 << 20)));
  const layer = { starts, want: (chunk: number) => wanted.push(chunk), asSource: () => source };
  await prefetchReads(layer, source.size, { diffId: own }, reads);
  expect(wanted.length).toBeLessThanOrEqual(4);
  expect(wanted).not.toEqual([]);
});

test('a file of a million ranges costs no more than its ranges', async () => {
  const ranges = Array.from({ length: 1_000_000 }, (_, i): [number, number] => [2 * i, 1]);
  const start = process.cpuUsage();
  await ask([read('/a', ranges)]);
  expect(process.cpuUsage(start).user).toBeLessThan(3e6);
  expect(wanted).toHaveLength(10);
});
