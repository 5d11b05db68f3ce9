import { link, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { writeFully } from '../../src/fs/write-fully';
import { ChunkStore } from '../../src/lazy/chunk-store';

vi.mock('../../src/fs/write-fully', { spy: true });

let folder: string;
const starts = Float64Array.from([0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950]);
const chunk = (index: number): Buffer => Buffer.alloc(starts[index + 1]! - starts[index]!, index + 1);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chunk-store-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('what was synced is there again, what was not is absent', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  await store.write(9, chunk(9));
  await store.sync();
  await store.write(1, chunk(1));
  expect([store.count, store.bytes]).toEqual([3, 250]);
  // As a kill leaves it: the third chunk's data is in the file, and its bit is not.
  const bitmap = await readFile(join(folder, 'present'));
  expect([...bitmap]).toEqual([0b1, 0b10]);
  const again = await ChunkStore.open(folder, starts);
  expect([again.has(0), again.has(1), again.has(9), again.count]).toEqual([true, false, true, 2]);
  await store.close();
  await again.close();
});

test('a bit is never on disk before its data: a neighbour in the same byte waits for its own sync', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  const syncing = store.sync();
  await store.write(1, chunk(1));
  await syncing;
  expect((await readFile(join(folder, 'present')))[0]).toBe(0b1);
  await store.sync();
  expect((await readFile(join(folder, 'present')))[0]).toBe(0b11);
  await store.close();
});

test('a sync that failed is made up for by the next', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  vi.mocked(writeFully).mockRejectedValueOnce(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  await expect(store.sync()).rejects.toMatchObject({ code: 'NO_SPACE' });
  await store.sync();
  expect((await readFile(join(folder, 'present')))[0]).toBe(0b1);
  await store.close();
});

test('chunks lie at their places, and a store of another layer is emptied', async () => {
  const store = await ChunkStore.open(folder, starts);
  for (let index = 0; index < 10; index++) await store.write(index, chunk(index));
  expect(store.isComplete).toBe(true);
  await store.close();
  expect(await readFile(join(folder, 'data'))).toEqual(Buffer.concat([...Array(10).keys()].map(chunk)));
  const other = await ChunkStore.open(folder, Float64Array.from([0, 100, 200]));
  expect([other.count, other.isComplete]).toEqual([0, false]);
  await other.close();
  expect((await readFile(join(folder, 'data'))).equals(Buffer.alloc(200))).toBe(true);
});

test('another layer’s data is not touched when a store is made anew: it may be a decoded layer by another name', async () => {
  const store = await ChunkStore.open(folder, starts);
  for (let index = 0; index < 10; index++) await store.write(index, chunk(index));
  await store.close();
  await link(join(folder, 'data'), join(folder, 'image'));
  await (await ChunkStore.open(folder, Float64Array.from([0, 100, 200]))).close();
  expect(await readFile(join(folder, 'image'))).toEqual(Buffer.concat([...Array(10).keys()].map(chunk)));
});

test('a store that is cleared has no chunk, here and on disk, and takes them again', async () => {
  const store = await ChunkStore.open(folder, starts);
  for (let index = 0; index < 10; index++) await store.write(index, chunk(index));
  await store.clear();
  expect([store.count, store.bytes, store.isComplete]).toEqual([0, 0, false]);
  expect([...(await readFile(join(folder, 'present')))]).toEqual([0, 0]);
  expect((await readFile(join(folder, 'data'))).equals(Buffer.alloc(950))).toBe(true);
  await store.write(3, chunk(3));
  await store.close();
  expect([...(await readFile(join(folder, 'present')))]).toEqual([0b1000, 0]);
});

test('data that was cut short is no reason to believe the bitmap', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  await store.close();
  const data = await open(join(folder, 'data'), 'r+');
  await data.truncate(10);
  await data.close();
  const again = await ChunkStore.open(folder, starts);
  expect(again.count).toBe(0);
  await again.close();
});

test('a new store waits for no disk: five layers of a mount would take as many times as long', async () => {
  const handle = await open(join(folder, 'other'), 'w');
  const syncs = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'sync');
  await handle.close();
  await (await ChunkStore.open(folder, starts)).close();
  expect(syncs).not.toHaveBeenCalled();
  await (await ChunkStore.open(folder, Float64Array.from([0, 50]))).close();
  expect(syncs).toHaveBeenCalledTimes(2); // the names of what was there are gone for good
  syncs.mockRestore();
});

test('a folder that can not be opened is an error with its name', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(ChunkStore.open(join(folder, 'file'), starts)).rejects.toMatchObject({ code: 'IO' });
});
