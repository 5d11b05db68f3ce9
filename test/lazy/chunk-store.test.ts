import { link, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { writeFully } from '../../src/fs/write-fully';
import { ChunkStore } from '../../src/lazy/chunk-store';
import { native } from '../../src/native/binding';

vi.mock('../../src/fs/write-fully', { spy: true });

let folder: string;
const starts = Float64Array.from([0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950]);
const chunk = (index: number): Buffer => Buffer.alloc(starts[index + 1]! - starts[index]!, index + 1);
/** Chunks whose digest is on disk. */
async function onDisk(): Promise<number[]> {
  const digests = await readFile(join(folder, 'digests'));
  const at = (index: number): Buffer => digests.subarray(index * 16, (index + 1) * 16);
  return [...Array(digests.length / 16).keys()].filter((index) => !at(index).equals(Buffer.alloc(16)));
}

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
  // As a kill leaves it: the third chunk's data is in the file, and its digest is not.
  expect(await onDisk()).toEqual([0, 9]);
  const again = await ChunkStore.open(folder, starts);
  expect([again.has(0), again.has(1), again.has(9), again.count]).toEqual([true, false, true, 2]);
  await store.close();
  await again.close();
});

test('a digest is never on disk before its data: what was written during a sync waits for its own', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  const syncing = store.sync();
  await store.write(1, chunk(1));
  await syncing;
  expect(await onDisk()).toEqual([0]);
  await store.sync();
  expect(await onDisk()).toEqual([0, 1]);
  await store.close();
});

test('a sync that failed is made up for by the next', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  vi.mocked(writeFully).mockRejectedValueOnce(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  await expect(store.sync()).rejects.toMatchObject({ code: 'NO_SPACE' });
  await store.sync();
  expect(await onDisk()).toEqual([0]);
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

test('a store that is cleared has no chunk, here and on disk, but for reads under way, and takes them again', async () => {
  const store = await ChunkStore.open(folder, starts);
  for (let index = 0; index < 10; index++) await store.write(index, chunk(index));
  await store.clear();
  expect([store.count, store.bytes, store.isComplete]).toEqual([0, 0, false]);
  expect(await onDisk()).toEqual([]);
  expect(await readFile(join(folder, 'data'))).toEqual(Buffer.concat([...Array(10).keys()].map(chunk)));
  await store.write(3, chunk(3));
  await store.close();
  expect(await onDisk()).toEqual([3]);
});

test('data that was cut short is no reason to believe the digests', async () => {
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

test('what an earlier process wrote is compared before it is given out; what is not as it was is absent', async () => {
  const store = await ChunkStore.open(folder, starts);
  for (const index of [0, 1, 2]) await store.write(index, chunk(index));
  expect([store.isChecked(0), await store.check(0)]).toEqual([true, true]); // its own
  await store.close();
  const data = await open(join(folder, 'data'), 'r+');
  await data.write(Buffer.of(0), 0, 1, 199); // the last byte of the second
  await data.close();
  const again = await ChunkStore.open(folder, starts);
  expect([0, 1, 2, 3].map((index) => again.has(index))).toEqual([true, true, true, false]);
  expect([0, 1, 2].map((index) => again.isChecked(index))).toEqual([false, false, false]);
  expect(await Promise.all([0, 1, 1, 2, 3].map((index) => again.check(index)))).toEqual([
    true,
    false,
    false,
    true,
    false,
  ]);
  expect([again.has(1), again.isChecked(1), again.count, again.bytes]).toEqual([false, false, 2, 200]);
  await again.write(1, chunk(1));
  await again.close();
  const last = await ChunkStore.open(folder, starts);
  expect(await Promise.all([0, 1, 2].map((index) => last.check(index)))).toEqual([true, true, true]);
  expect(await last.checkAll()).toBe(false); // most were never here
  await last.close();
});

test('what this process has compared counts again after it closed the store, unless the files were changed since', async () => {
  const sleep = () => new Promise((resolve) => setTimeout(resolve, 100)); // the stamps of files are to be old
  const store = await ChunkStore.open(folder, starts);
  for (const index of [0, 1]) await store.write(index, chunk(index));
  await store.close(); // and with that just changed
  let again = await ChunkStore.open(folder, starts);
  expect([again.isChecked(0), await again.check(0)]).toEqual([false, true]);
  await sleep();
  await again.close();
  again = await ChunkStore.open(folder, starts);
  expect([again.isChecked(0), again.isChecked(1)]).toEqual([true, false]);
  await again.close();
  const data = await open(join(folder, 'data'), 'r+');
  await data.write(chunk(5), 0, 1, 10);
  await data.close();
  again = await ChunkStore.open(folder, starts);
  expect([again.isChecked(0), await again.check(0)]).toEqual([false, false]);
  await again.close();
});

test('what the disk does not give back is absent', async () => {
  const store = await ChunkStore.open(folder, starts);
  await store.write(0, chunk(0));
  await store.close();
  const again = await ChunkStore.open(folder, starts);
  await truncate(join(folder, 'data'), 10);
  expect([await again.check(0), again.has(0)]).toEqual([false, false]);
  await again.close();
});

test('a new store waits for no disk: five layers of a mount would take as many times as long', async () => {
  const handle = await open(join(folder, 'other'), 'w');
  const files = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'sync');
  const folders = vi.spyOn(native.files, 'syncFolder');
  await handle.close();
  await (await ChunkStore.open(folder, starts)).close();
  expect(files).not.toHaveBeenCalled();
  expect(folders).not.toHaveBeenCalled();
  await (await ChunkStore.open(folder, Float64Array.from([0, 50]))).close();
  expect(folders).toHaveBeenCalledTimes(2); // the names of what was there are gone for good
  files.mockRestore();
  folders.mockRestore();
});

test('a store waits with closing its files for who works on them, and lets nobody begin any more', async () => {
  const store = await ChunkStore.open(folder, starts);
  let goOn = (): void => undefined;
  const going = new Promise<void>((resolve) => (goOn = resolve));
  let isAborted = false;
  const working = store.use(async (signal) => {
    await going;
    isAborted = signal.aborted;
    await writeFully(store.fd, chunk(3), starts[3]!);
  });
  const filling = store.fill(4, async ({ fd, offset }) => {
    await going;
    await writeFully(fd, chunk(4), offset);
    return new Uint8Array(32).fill(1);
  });
  const closed = vi.fn();
  const closing = store.close().then(closed);
  const refused = { code: 'CANCELLED' };
  await expect(store.write(5, chunk(5))).rejects.toMatchObject(refused);
  await expect(store.read(Buffer.alloc(10), 0)).rejects.toMatchObject(refused);
  await expect(store.use(() => Promise.resolve())).rejects.toMatchObject(refused);
  expect(closed).not.toHaveBeenCalled();
  goOn();
  await Promise.all([working, filling, closing]);
  expect([isAborted, await onDisk()]).toEqual([true, [4]]);
  const data = await readFile(join(folder, 'data'));
  expect(data.subarray(300, 500).equals(Buffer.concat([chunk(3), chunk(4)]))).toBe(true);
});

test('a folder that can not be opened is an error with its name', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(ChunkStore.open(join(folder, 'file'), starts)).rejects.toMatchObject({ code: 'IO' });
});
