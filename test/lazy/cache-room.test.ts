import { link, mkdir, mkdtemp, readdir, rm, statfs, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { acquireLock } from '../../src/fs/lock';
import { makeRoom, markUsed, storeLock, type CachePlaces } from '../../src/lazy/cache-room';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, statfs: vi.fn(real.statfs) };
});

const mebibyte = 1 << 20;
const day = 86_400_000;
const key = (name: string): string => name.repeat(64);

let places: CachePlaces;
beforeEach(async () => {
  vi.mocked(statfs).mockClear();
  const folder = await mkdtemp(join(tmpdir(), 'cache-room-'));
  places = { state: join(folder, 'state'), content: join(folder, 'content') };
  for (const name of ['mounts', 'layers']) await mkdir(join(places.state, name), { recursive: true });
  await mkdir(join(places.content, 'lazy'), { recursive: true });
});
afterEach(() => rm(join(places.state, '..'), { recursive: true, force: true }));

/** A decoded layer or a store, last used so many days ago. */
async function put(folder: string, days: number, size = mebibyte): Promise<void> {
  await mkdir(join(places.content, folder), { recursive: true });
  await writeFile(join(places.content, folder, 'data'), Buffer.alloc(size, 1));
  const date = new Date(Date.now() - days * day);
  await utimes(join(places.content, folder), date, date);
}

const left = async (): Promise<string[]> => {
  const names = [
    ...(await readdir(places.content)),
    ...(await readdir(join(places.content, 'lazy'))).map((name) => `lazy/${name}`),
  ];
  return names.filter((name) => name !== 'lazy').sort();
};

const mounted = (name: string) =>
  writeFile(
    join(places.state, 'mounts', `${name.repeat(64)}.json`),
    JSON.stringify({ target: '/t', layers: [{ diffId: 'sha256:d', key: key(name) }] }),
  );

test('what was used longest ago goes first, and no more than is too much', async () => {
  await put(key('a'), 3);
  await put(`lazy/${key('b')}`, 5);
  await put(`lazy/${key('c')}`, 1);
  await put(key('d'), 4);
  const { bytes, isOver } = await makeRoom(places, { cacheSize: 2.5 * mebibyte });
  expect(await left()).toEqual([key('a'), `lazy/${key('c')}`]);
  expect([bytes, isOver]).toEqual([2 * mebibyte, false]);
});

test('what is in use stays, however large, and is used now', async () => {
  await put(key('a'), 40);
  await put(`lazy/${key('a')}`, 40);
  await put(`lazy/${key('b')}`, 40);
  await mounted('a');
  await mkdir(join(places.state, 'layers', key('b')));
  const { isOver } = await makeRoom(places, { cacheSize: 0 });
  expect(isOver).toBe(true);
  expect(await left()).toEqual([key('a'), `lazy/${key('a')}`, `lazy/${key('b')}`]);
  await rm(join(places.state, 'mounts', `${key('a')}.json`));
  await rm(join(places.state, 'layers', key('b')), { recursive: true });
  await makeRoom(places);
  expect(await left()).toHaveLength(3);
});

test('what was not used for so many days goes, also when there is room; to use it is enough', async () => {
  for (const name of ['a', 'b']) await put(`lazy/${key(name)}`, 31);
  await put(key('c'), 29);
  await markUsed(places, [key('b')]);
  await makeRoom(places);
  expect(await left()).toEqual([key('c'), `lazy/${key('b')}`]);
  await makeRoom(places, { keep: 7 });
  expect(await left()).toEqual([`lazy/${key('b')}`]);
});

test('a file that a decoded layer and a store share counts once', async () => {
  await put(`lazy/${key('a')}`, 1);
  await mkdir(join(places.content, key('a')));
  await link(join(places.content, 'lazy', key('a'), 'data'), join(places.content, key('a'), 'image'));
  expect(await makeRoom(places, { cacheSize: 1.5 * mebibyte })).toEqual({ bytes: mebibyte, isOver: false });
  expect(await left()).toHaveLength(2);
});

test('a part of the disk stays free for others', async () => {
  await put(key('a'), 1);
  await put(key('b'), 2);
  const free = (2 ** 20 - 1) / 10;
  const lacking = async (bytes: number) =>
    Object.assign(await statfs(places.content), {
      bsize: 4096,
      blocks: 2 ** 20,
      bavail: free - bytes / 4096 + 1,
    });
  vi.mocked(statfs).mockResolvedValueOnce(await lacking(mebibyte / 2));
  await makeRoom(places);
  expect(await left()).toEqual([key('a')]);
  vi.mocked(statfs).mockResolvedValueOnce(await lacking(0));
  await makeRoom(places);
  expect(await left()).toEqual([key('a')]);
});

test('a mount that begins while room is made keeps its layer', async () => {
  await put(key('a'), 1);
  const { statfs: real } = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  vi.mocked(statfs).mockImplementationOnce(async (path) => {
    await mounted('a'); // after the first look at what is in use, before anything is removed
    return real(path);
  });
  expect(await makeRoom(places, { cacheSize: 0 })).toEqual({ bytes: mebibyte, isOver: true });
  expect(await left()).toEqual([key('a')]);
});

test('what an umount is about to let go of goes as well', async () => {
  await put(key('a'), 1);
  await mounted('a');
  const lock = await acquireLock(join(places.state, 'lock'));
  const making = makeRoom(places, { cacheSize: 0 });
  await sleep(50); // however long: it has to wait for the lock
  await rm(join(places.state, 'mounts'), { recursive: true });
  await lock.release();
  await making;
  expect(await left()).toEqual([]);
});

test('a store that a server has open stays', async () => {
  await put(`lazy/${key('a')}`, 40);
  const lock = await acquireLock(storeLock(join(places.content, 'lazy', key('a'))));
  await makeRoom(places, { cacheSize: 0 });
  expect(await left()).toContain(`lazy/${key('a')}`);
  await lock.release();
  await makeRoom(places, { cacheSize: 0 });
  expect(await left()).toEqual([]);
});

test('what killed processes left is cleared away', async () => {
  await put('.removed-0123456789abcdef', 0);
  await put('lazy/.removed-0123456789abcdef', 0);
  await writeFile(join(places.content, `${key('a')}.lock`), '');
  await writeFile(join(places.content, 'lazy', `${key('a')}.lock`), '');
  await makeRoom(places);
  expect(await left()).toEqual([]);
});
