import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readFile, readdir, rename, rm, statfs, utimes } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fromSystemError } from '../errors';
import { acquireLock, tryPrivateLock } from '../fs/lock';

/** What the cache may hold. */
export interface CacheLimits {
  /** Bytes on disk of all layers together, decoded ones and stores of lazy ones; default: no limit but the free space of the disk. */
  cacheSize?: number | undefined;
  /** Days after which a layer goes that was not used; default: 30. */
  keep?: number | undefined;
}

/** The folder that says what is mounted, and the one with decoded layers (`KEY/`) and stores of lazy ones (`lazy/KEY/`). */
export interface CachePlaces {
  state: string;
  content: string;
}

/** Where what is mounted is recorded. */
const defaultState = '/run/seekable-erofs';
/** Where layers are kept: one may be larger than the memory that /run is. */
const defaultContent = '/var/lib/seekable-erofs';

/** The places that a state folder (absent: the machine's) stands for. */
export function cachePlacesOf(state?: string): CachePlaces {
  const content = state === undefined ? defaultContent : join(state, 'content');
  return { state: resolve(state ?? defaultState), content: resolve(content) };
}

/** What makeRoom() left. */
interface CacheRoom {
  /** On disk, of all layers. */
  bytes: number;
  /** All that may go is gone, and it is still more than `cacheSize`: the rest is in use. */
  isOver: boolean;
}

interface Entry {
  key: string;
  /** On disk. A file that a decoded layer and a store share counts once. */
  bytes: number;
  /** In milliseconds, as of Date.now(). */
  lastUse: number;
}

const defaultKeep = 30;
const day = 86_400_000;
/** So much of the disk stays free, for all others: a tenth, or this where that is less. */
const maxReserve = 10 * 2 ** 30;
const blockSize = 512; // of st_blocks, whatever the file system has
const keyName = /^[0-9a-f]{64}$/;
const lockName = /^[0-9a-f]{64}\.lock$/;
const removedPrefix = '.removed-';

/**
 * Removes layers that nothing has mounted, those first that were used longest ago: as many as are too much, and all that were not used for
 * `keep` days. What is in use is never touched, and counts as used now. A mount that begins meanwhile keeps its layers: they are removed
 * while the state is locked, in which no mount can begin.
 */
export async function makeRoom(places: CachePlaces, limits: CacheLimits = {}): Promise<CacheRoom> {
  const { cacheSize = Infinity, keep = defaultKeep } = limits;
  const folders = foldersOf(places);
  await mkdir(folders[1]!, { recursive: true, mode: 0o700 });
  await Promise.all(folders.map(clearRemains));
  const used = await usedKeysNow(places.state);
  await markUsed(places, used);
  const entries = await readEntries(folders);
  let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  let missing = Math.max(bytes - cacheSize, await missingSpace(places.content));
  const oldest = Date.now() - keep * day;
  await removeDocuments(documentsFolder(places), oldest);
  for (const entry of entries.sort((a, b) => a.lastUse - b.lastUse)) {
    if (used.has(entry.key) || (missing <= 0 && entry.lastUse >= oldest)) continue;
    if (!(await removeEntry(places, entry.key))) continue;
    bytes -= entry.bytes;
    missing -= entry.bytes;
  }
  return { bytes, isOver: bytes > cacheSize };
}

/** Notes that layers are in use, or were until now. */
export async function markUsed(places: CachePlaces, keys: Iterable<string>): Promise<void> {
  const now = new Date();
  for (const key of keys) {
    // One that is not there was mounted where it lies, or is being made.
    for (const folder of foldersOf(places)) await utimes(join(folder, key), now, now).catch(() => undefined);
  }
}

/** Where manifests and configs are kept, by their digests. */
export function documentsFolder({ content }: CachePlaces): string {
  return join(content, 'documents');
}

/** The lock of a lazy layer's store: whoever has it open, or removes it. */
export function storeLock(store: string): string {
  return `${store}.lock`;
}

function foldersOf({ content }: CachePlaces): string[] {
  return [content, join(content, 'lazy')];
}

/** Once who changes mounts is done: an umount lets go of a lazy layer before its record is gone. */
async function usedKeysNow(state: string): Promise<Set<string>> {
  const lock = await acquireLock(join(state, 'lock'), { mode: 0o600 });
  try {
    return await usedKeys(state);
  } finally {
    await lock.release();
  }
}

/** The keys that records of mounts name, and of what is set up without a record that can be read. */
async function usedKeys(state: string): Promise<Set<string>> {
  const keys = new Set((await namesIn(join(state, 'layers'))).filter((name) => keyName.test(name)));
  for (const name of await namesIn(join(state, 'mounts'))) {
    if (!name.endsWith('.json')) continue;
    const text = await readFile(join(state, 'mounts', name), 'utf8').catch(() => '');
    for (const [, key] of text.matchAll(/"key":"([0-9a-f]{64})"/g)) keys.add(key!);
  }
  return keys;
}

async function readEntries(folders: readonly string[]): Promise<Entry[]> {
  const names = await Promise.all(folders.map(namesIn));
  const keys = new Set(names.flat().filter((name) => keyName.test(name)));
  return Promise.all([...keys].map((key) => readEntry(folders, key)));
}

async function readEntry(folders: readonly string[], key: string): Promise<Entry> {
  const entry = { key, bytes: 0, lastUse: 0 };
  const counted = new Set<number>();
  for (const folder of folders.map((parent) => join(parent, key))) {
    const status = await lstat(folder).catch(() => null);
    entry.lastUse = Math.max(entry.lastUse, status?.mtimeMs ?? 0);
    for (const name of await namesIn(folder)) {
      const file = await lstat(join(folder, name)).catch(() => null); // gone meanwhile
      if (file === null || counted.has(file.ino)) continue;
      counted.add(file.ino);
      entry.bytes += file.blocks * blockSize;
    }
  }
  return entry;
}

/** Bytes that the file system lacks of what is to stay free. */
async function missingSpace(folder: string): Promise<number> {
  const { bsize, blocks, bavail } = await statfs(folder).catch((error: unknown) => {
    throw fromSystemError(folder, error);
  });
  return Math.min((blocks * bsize) / 10, maxReserve) - bavail * bsize;
}

/** False when it turns out to be in use. It goes from its name at once; its bytes, which may take a while, without holding anybody up. */
async function removeEntry(places: CachePlaces, key: string): Promise<boolean> {
  const gone: string[] = [];
  const lock = await acquireLock(join(places.state, 'lock'), { mode: 0o600 });
  try {
    if ((await usedKeys(places.state)).has(key)) return false;
    const [, stores] = foldersOf(places);
    const store = await tryPrivateLock(storeLock(join(stores!, key)));
    if (store === null) return false;
    try {
      for (const folder of foldersOf(places)) gone.push(...(await moveAway(folder, key)));
    } finally {
      await store.release();
    }
  } finally {
    await lock.release();
  }
  for (const folder of gone) await rm(folder, { recursive: true, force: true });
  return true;
}

async function moveAway(folder: string, key: string): Promise<string[]> {
  const away = join(folder, `${removedPrefix}${randomBytes(8).toString('hex')}`);
  try {
    await rename(join(folder, key), away);
    return [away];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fromSystemError(join(folder, key), error);
  }
}

async function removeDocuments(folder: string, oldest: number): Promise<void> {
  for (const path of (await namesIn(folder)).map((name) => join(folder, name))) {
    const status = await lstat(path).catch(() => null); // gone meanwhile
    if (status !== null && status.mtimeMs < oldest) await rm(path, { force: true });
  }
}

/** What killed processes left: folders that were being removed, and locks that nobody holds. */
async function clearRemains(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    if (name.startsWith(removedPrefix)) await rm(path, { recursive: true, force: true });
    if (lockName.test(name)) await (await tryPrivateLock(path))?.release();
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw fromSystemError(folder, error);
  });
}
