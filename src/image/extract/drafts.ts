import { closeSync, constants, fstatSync } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { basename, dirname } from 'node:path';
import { isDraftName, newDraftPath } from '../../fs/draft';
import { native } from '../../native/binding';
import { runNative } from '../../native/run';

const { sys } = native;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY;

/** A new folder in the open folder `parent`, locked as long as it is open: what is not locked was left by a killed run. */
export function makeExtractDraft(parent: number): { name: string; fd: number } {
  for (;;) {
    const name = basename(newDraftPath(''));
    sys.makeFolder(parent, name, 0o777);
    const fd = openDraft(parent, name);
    if (fd === null) continue;
    // Before it was locked, another run may have taken it for one that was left behind.
    if (tryLock(fd) && isStillNamed(parent, name, fd)) return { name, fd };
    closeSync(fd);
  }
}

/**
 * Removes the folders beside `dir` in which killed runs began to extract: those of this user that nobody has locked. Only where nobody else
 * can rename things, for else another folder may have come to the name. What can't be removed stays.
 */
export async function clearExtractDrafts(dir: string): Promise<void> {
  // Whoever may write to a folder need not be allowed to list it.
  await clearDraftsIn(dirname(dir)).catch(() => undefined);
}

async function clearDraftsIn(folder: string): Promise<void> {
  const parent = await open(folder, folderFlags);
  try {
    if (!(await isPrivate(parent))) return;
    const names = await readdir(`/proc/self/fd/${parent.fd}`);
    for (const name of names.filter(isDraftName)) await clearDraft(parent.fd, name).catch(() => undefined);
  } finally {
    await parent.close();
  }
}

/** Whether only this user and root can rename what is this user's in a folder. */
async function isPrivate(folder: FileHandle): Promise<boolean> {
  const { uid, mode } = await folder.stat();
  const isOurs = uid === 0 || uid === process.geteuid?.();
  return isOurs && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);
}

async function clearDraft(parent: number, name: string): Promise<void> {
  const fd = openDraft(parent, name);
  if (fd === null) return;
  try {
    const isOurs = fstatSync(fd).uid === process.geteuid?.();
    if (!isOurs || !native.tryLock(fd) || !isStillNamed(parent, name, fd)) return;
    const folder = new native.TreeWriter({ fd, name }, { replace: false, owners: false });
    await runNative({}, (job) => folder.removeAll(job));
    sys.removeFolder(parent, name);
  } finally {
    closeSync(fd);
  }
}

/** Null when it is gone. */
function openDraft(parent: number, name: string): number | null {
  try {
    return sys.openEntry(parent, name, folderFlags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === system.errno.ENOENT) return null;
    throw error;
  }
}

/** True on a file system without locks, too: it has none for the others either, so that they leave the folder alone. */
function tryLock(fd: number): boolean {
  try {
    return native.tryLock(fd);
  } catch {
    return true;
  }
}

function isStillNamed(parent: number, name: string, fd: number): boolean {
  const named = openDraft(parent, name);
  if (named === null) return false;
  const [is, shouldBe] = [named, fd].map((each) => fstatSync(each, { bigint: true }));
  closeSync(named);
  return is!.ino === shouldBe!.ino && is!.dev === shouldBe!.dev;
}
