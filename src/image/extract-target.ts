import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { chmod, lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { failure, fromSystemError } from '../errors';
import { unfinishedPrefix } from '../fs/draft';

/** The folder that an extraction fills. Exactly one of commit() and discard() ends it. */
export interface ExtractTarget {
  /** Open until the end. */
  readonly fd: number;
  /** What errors call it, and what it will be called. */
  readonly name: string;
  /** Gives it its name. */
  commit(): Promise<void>;
  /** Removes what was made: all of it, unless the folder held something before. */
  discard(): Promise<void>;
}

/**
 * Where a folder is to be filled: a new one grows beside its place under a hidden name. USAGE when there is something else, or a folder that
 * is not empty, unless `force`.
 */
export async function openExtractTarget(dir: string, force: boolean): Promise<ExtractTarget> {
  const path = resolve(dir);
  try {
    const status = await stat(path).catch(absentAsNull);
    if (status === null) return await openNew(dir, path);
    if (!status.isDirectory()) throw failure('USAGE', dir, 'it exists and is no folder');
    const isEmpty = (await readdir(path)).length === 0;
    if (!isEmpty && !force)
      throw failure('USAGE', dir, 'it is not empty', 'choose another folder, or give --force');
    return await openExisting(dir, path, isEmpty);
  } catch (error) {
    throw fromSystemError(dir, error);
  }
}

function absentAsNull(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  return null;
}

async function openNew(dir: string, path: string): Promise<ExtractTarget> {
  // A dangling link is something in the way, too.
  if ((await lstat(path).catch(absentAsNull)) !== null)
    throw failure('USAGE', dir, 'it exists and is no folder');
  const parent = dirname(path);
  if ((await stat(parent).catch(absentAsNull)) === null) {
    throw failure('NOT_FOUND', dir, `folder ${parent} does not exist`, 'create it first');
  }
  const unfinished = join(parent, `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
  await mkdir(unfinished);
  const handle = await openFolder(unfinished);
  const commit = async (): Promise<void> => {
    await handle.close();
    await rename(unfinished, path);
  };
  const discard = async (): Promise<void> => {
    await handle.close();
    await removeTree(unfinished);
  };
  return { fd: handle.fd, name: dir, commit: named(dir, commit), discard };
}

async function openExisting(dir: string, path: string, wasEmpty: boolean): Promise<ExtractTarget> {
  const handle = await openFolder(path);
  const discard = async (): Promise<void> => {
    await handle.close();
    if (!wasEmpty) return;
    for (const name of await readdir(path)) await removeTree(join(path, name));
  };
  return { fd: handle.fd, name: dir, commit: named(dir, () => handle.close()), discard };
}

function openFolder(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

function named(dir: string, commit: () => Promise<void>) {
  return () =>
    commit().catch((error: unknown) => {
      throw fromSystemError(dir, error);
    });
}

/** Removes a tree whose folders may forbid it to their owner. Links in it are removed, not followed. */
async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    await openUp(path);
    await rm(path, { recursive: true, force: true });
  }
}

async function openUp(root: string): Promise<void> {
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    if (!(await lstat(folder)).isDirectory()) continue;
    await chmod(folder, 0o700);
    const entries = await readdir(folder, { withFileTypes: true });
    for (const entry of entries) if (entry.isDirectory()) folders.push(join(folder, entry.name));
  }
}
