import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { failure, fromSystemError } from '../errors';

/** How the names of unfinished files begin, so that those which a crash left can be found. */
export const unfinishedPrefix = '.seekable-erofs-';

/** A file that appears under its name when it is complete, or never. Exactly one of commit() and discard() has an effect: the first. */
export interface AtomicFile {
  /** The name that it will have. */
  readonly name: string;
  /** Open for reading and writing until commit() or discard(). */
  readonly fd: number;
  /** Syncs it and gives it its name, replacing a file of that name. When that fails, it is removed. */
  commit(): Promise<void>;
  /** Removes it. After commit() this does nothing, so it may stand in every `finally`. */
  discard(): Promise<void>;
}

/**
 * Begins a file beside `path`, under a hidden name. NOT_FOUND when the folder doesn't exist, USAGE when `path` is a directory or a device.
 * A symbolic link is followed: the file that it points to is replaced.
 */
export async function createAtomicFile(path: string): Promise<AtomicFile> {
  const target = await findTarget(path);
  const temporary = join(dirname(target), `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const handle = await open(temporary, flags, 0o666).catch((error: unknown) => {
    throw fromSystemError(path, error);
  });
  let ended = false;
  const once = async (finish: () => Promise<void>): Promise<void> => {
    if (ended) return;
    ended = true;
    await finish().catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
  };
  return {
    name: path,
    fd: handle.fd,
    commit: () => once(() => publish(handle, temporary, target)),
    discard: () => once(() => remove(handle, temporary)),
  };
}

/** Runs `write` on an unfinished file: it appears when that succeeds, and is removed when it fails. */
export async function writeAtomically<T>(path: string, write: (file: AtomicFile) => Promise<T>): Promise<T> {
  const file = await createAtomicFile(path);
  try {
    const result = await write(file);
    await file.commit();
    return result;
  } finally {
    await file.discard();
  }
}

async function findTarget(path: string): Promise<string> {
  try {
    const status = await lstat(path);
    const target = status.isSymbolicLink() ? await realpath(path) : path;
    const found = await stat(target);
    if (found.isDirectory()) throw failure('USAGE', path, 'it is a directory', 'name a file');
    if (!found.isFile()) throw failure('USAGE', path, 'it exists and is no regular file');
    return target;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(path, error);
  }
  await checkFolder(path);
  return path;
}

async function checkFolder(path: string): Promise<void> {
  const folder = dirname(path);
  const status = await stat(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(path, error);
    throw failure('NOT_FOUND', path, `folder ${folder} does not exist`, 'create it first');
  });
  if (!status.isDirectory()) throw failure('NOT_FOUND', path, `${folder} is no folder`);
}

async function publish(handle: FileHandle, temporary: string, target: string): Promise<void> {
  try {
    await handle.sync();
    await rename(temporary, target);
  } catch (error) {
    await remove(handle, temporary);
    throw error;
  }
  await handle.close();
  await syncFolder(dirname(target));
}

async function remove(handle: FileHandle, temporary: string): Promise<void> {
  try {
    await rm(temporary, { force: true });
  } finally {
    await handle.close();
  }
}

/** Makes the names in a folder last; filesystems that can't do that for folders say EINVAL. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
  } finally {
    await handle.close();
  }
}
