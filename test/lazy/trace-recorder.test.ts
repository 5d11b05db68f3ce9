import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildErofs } from '../../src';
import type { Trace } from '../../src/format/trace';
import { TraceRecorder } from '../../src/lazy/trace-recorder';
import { openFileSource } from '../../src/source/file';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
const at = (name: string): string => join(folder, name);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trace-recorder-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The trace of one read of the image of these files. */
async function traceOf(files: Record<string, string>, offset: number, length: number): Promise<Trace> {
  const entries = Object.entries(files).map(([name, content]) => ({ name, content }));
  await writeFile(at('tar'), tarBytes(entries));
  await buildErofs(at('tar'), at('image'));
  const source = await openFileSource(at('image'));
  const request = { id: 'x', file: at('trace'), image: 'x', platform: 'linux/amd64', started: 1000 };
  const recorder = await TraceRecorder.open(request, false);
  const reads = Float64Array.of(offset, length, 5);
  recorder.add({ diffId: `sha256:${'0'.repeat(64)}`, source, began: 1010, takeReads: () => reads });
  await recorder.flush();
  await source.close();
  return JSON.parse(await readFile(at('trace'), 'utf8')) as Trace;
}

test('reads of metadata are of no file, whatever small files lie there, on whatever border', async () => {
  // So many tails that some begin where a block does.
  const small = Array.from({ length: 3000 }, (_, i) => [`f${i}`, 'x'.repeat(4096 + (i % 450))]);
  const files = Object.fromEntries(small) as Record<string, string>;
  const { reads } = await traceOf(files, 0, 3000 * 100);
  expect(reads).toEqual([]);
});

test('a read of a file counts from the mount', async () => {
  const { reads } = await traceOf({ a: 'a'.repeat(8192), b: 'b'.repeat(8192) }, 4096, 4096);
  expect(reads).toEqual([
    { path: '/a', layer: `sha256:${'0'.repeat(64)}`, ranges: [[0, 4096]], firstMs: 15 },
  ]);
});
