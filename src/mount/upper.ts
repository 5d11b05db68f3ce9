import { chmod, chown, lstat, mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystemError } from '../errors';

/** The folder of a writable mount, made unless it is there, without symbolic links in its path. */
export async function makeFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true });
    return await realpath(path);
  } catch (error) {
    throw fromSystemError(path, error);
  }
}

/** `upper` and `work` in a folder. A new `upper` gets the mode and the owner of `root`: it is the root of what is seen. */
export async function prepareUpper(folder: string, root: string): Promise<{ upper: string; work: string }> {
  const upper = join(folder, 'upper');
  const work = join(folder, 'work');
  try {
    await mkdir(work, { recursive: true, mode: 0o700 });
    const isNew = await mkdir(upper, { recursive: true });
    if (isNew === undefined) return { upper, work };
    const { mode, uid, gid } = await lstat(root);
    await chown(upper, uid, gid);
    await chmod(upper, mode & 0o7777);
  } catch (error) {
    throw fromSystemError(folder, error);
  }
  return { upper, work };
}
