import { lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { failure, fromSystemError } from '../errors';
import { native } from '../native/binding';
import { clearDrafts, openDraft, type Draft } from './draft';
import { checkFileName } from './file-name';
import { refuseInputAsOutput, type InputFile } from './same-file';

/** A file that appears under its name when it is complete, or never. Exactly one of commit() and discard() has an effect: the first. */
export interface AtomicFile {
  /** The name that it will have. */
  readonly name: string;
  /** Open for reading and writing until commit() or discard(). */
  readonly fd: number;
  /** Syncs it, unless it was begun without, and gives it its name, replacing a file of that name. When that fails, it is removed. */
  commit(): Promise<void>;
  /** Removes it; never fails. After commit() this does nothing, so it may stand in every `finally`. */
  discard(): Promise<void>;
}

/** Whether a file that is complete has to outlive a power cut. */
export interface SyncOptions {
  /** Default: true. Without, the system writes it to the disk when it likes: for files whose owner can do without, and has said so. */
  sync?: boolean | undefined;
}

export interface AtomicFileOptions extends SyncOptions {
  /** What the file is made of: none of these may be replaced by it. */
  inputs?: readonly InputFile[] | undefined;
}

/**
 * Begins a file that will be called `path`, and removes what killed writers left in its folder. NOT_FOUND when the folder doesn't exist, USAGE
 * when `path` is a directory, a device, or one of `inputs`. A symbolic link is not followed: it is what gets replaced.
 */
export async function createAtomicFile(
  path: string,
  { inputs = [], sync = true }: AtomicFileOptions = {},
): Promise<AtomicFile> {
  checkFileName(path);
  await checkTarget(path);
  await refuseInputAsOutput(path, inputs);
  await clearDrafts(dirname(path));
  const draft = await openDraft(dirname(path)).catch((error: unknown) => {
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
    fd: draft.handle.fd,
    commit: () => once(() => publish(draft, path, sync)),
    discard: () => once(() => draft.close()),
  };
}

/** Runs `write` on an unfinished file: it appears when that succeeds, and is removed when it fails. */
export async function writeAtomically<T>(
  path: string,
  write: (file: AtomicFile) => Promise<T>,
  options?: AtomicFileOptions,
): Promise<T> {
  const file = await createAtomicFile(path, options);
  try {
    const result = await write(file);
    await file.commit();
    return result;
  } finally {
    await file.discard();
  }
}

/** Refuses what a file must not take the place of; what a symbolic link leads to counts as well, though only the link would go. */
async function checkTarget(path: string): Promise<void> {
  const link = await statusOf(path, lstat);
  const found = link?.isSymbolicLink() === true ? await statusOf(path, stat) : link;
  if (found?.isDirectory() === true) throw failure('USAGE', path, 'it is a directory', 'name a file');
  if (found?.isFile() === false) throw failure('USAGE', path, 'it exists and is no regular file');
  if (link === null) await checkFolder(path);
}

async function statusOf(path: string, status: typeof stat) {
  return status(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  });
}

async function checkFolder(path: string): Promise<void> {
  const folder = dirname(path);
  await stat(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(path, error);
    throw failure('NOT_FOUND', path, `folder ${folder} does not exist`, 'create it first');
  });
}

async function publish(draft: Draft, target: string, sync: boolean): Promise<void> {
  try {
    if (sync) await draft.handle.sync();
    await draft.publish(target);
  } finally {
    await draft.close();
  }
  if (sync) await syncFolder(dirname(target));
}

/** Makes the names in a folder last. File systems that can't do that for folders, and folders that may not be listed, are left. */
export async function syncFolder(folder: string): Promise<void> {
  await native.files.syncFolder(folder);
}
