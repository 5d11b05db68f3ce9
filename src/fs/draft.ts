import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, opendir, rename, unlink } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';

import { SeekableErofsError } from '../errors';
import { native } from '../native/binding';
import { isStillNamed } from './lock';
import { openUnnamed } from './unnamed-file';

/** How the names of unfinished files begin, so that those which a crash left can be found. */
export const unfinishedPrefix = '.seekable-erofs-';

const draftPattern = /^\.seekable-erofs-[0-9a-f]{16}$/;

/** Whether a name is one of newDraftPath(). */
export function isDraftName(name: string): boolean {
  return draftPattern.test(name);
}

/** A hidden name in `folder` that nothing has. */
export function newDraftPath(folder: string): string {
  return join(folder, `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
}

/**
 * A file without its name yet. A kill leaves nothing of it where the file system has unnamed files, elsewhere a hidden file that clearDrafts()
 * removes: it is locked as long as its writer lives.
 */
export interface Draft {
  readonly handle: FileHandle;
  /** Gives it the name `target`, in its folder, in the place of what has that name. Errors are the system's own. */
  publish(target: string): Promise<void>;
  /** Closes it, and removes it unless it was published. Never fails: what can't be removed is cleared by a later run. */
  close(): Promise<void>;
}

/** Begins a draft in `folder`. Errors are the system's own. */
export async function openDraft(folder: string): Promise<Draft> {
  const handle = await openUnnamed(folder, 0o666);
  return handle === null ? openNamed(folder) : unnamedDraft(folder, handle);
}

function unnamedDraft(folder: string, handle: FileHandle): Draft {
  return {
    handle,
    publish: (target) => publishUnnamed(folder, handle, target),
    close: () => handle.close().catch(() => undefined),
  };
}

/** There is no call that links a file in the place of another: it has a hidden name for the moment before it is renamed. */
async function publishUnnamed(folder: string, { fd }: FileHandle, target: string): Promise<void> {
  if (linkIfFree(fd, target)) return;
  lock(fd);
  let hidden = newDraftPath(folder);
  while (!linkIfFree(fd, hidden)) hidden = newDraftPath(folder);
  try {
    await rename(hidden, target);
  } catch (error) {
    await unlink(hidden).catch(() => undefined);
    throw error;
  }
}

/** False when something has the name. */
function linkIfFree(fd: number, path: string): boolean {
  try {
    native.sys.linkOpenFile(fd, path);
    return true;
  } catch (error) {
    const { errno, code, why } = error as { errno?: number; code?: string; why?: string };
    if (errno === osConstants.errno.EEXIST) return false;
    throw new SeekableErofsError(code === 'NO_SPACE' ? code : 'IO', {
      what: path,
      why: why ?? String(error),
      cause: error,
    });
  }
}

async function openNamed(folder: string): Promise<Draft> {
  for (;;) {
    const path = newDraftPath(folder);
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o666);
    let isNamed = true;
    const close = async (): Promise<void> => {
      if (isNamed) await unlink(path).catch(() => undefined);
      await handle.close().catch(() => undefined);
    };
    const publish = async (target: string): Promise<void> => {
      await rename(path, target);
      isNamed = false;
    };
    lock(handle.fd);
    // Before it was locked, another run may have taken it for one that was left behind.
    if (await isStillNamed(path, handle)) return { handle, publish, close };
    isNamed = false;
    await close();
  }
}

/** Where a file system has no locks, the others can't lock the file either, and so never remove it. */
function lock(fd: number): void {
  try {
    native.tryLock(fd);
  } catch {
    // See above.
  }
}

/** Removes the drafts in `folder` that killed writers left: those that nobody has locked. What can't be looked at or removed stays. */
export async function clearDrafts(folder: string): Promise<void> {
  try {
    for await (const entry of await opendir(folder)) {
      if (isDraftName(entry.name) && entry.isFile()) await clearDraft(join(folder, entry.name));
    }
  } catch {
    // Whoever may write to a folder need not be allowed to list it.
  }
}

async function clearDraft(path: string): Promise<void> {
  // On NFS, an exclusive lock takes a descriptor that may write.
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(path, flags).catch(() => null);
  if (handle === null) return;
  try {
    if (native.tryLock(handle.fd) && (await isStillNamed(path, handle))) await unlink(path);
  } catch {
    // It stays: it may be another user's.
  } finally {
    await handle.close().catch(() => undefined);
  }
}
