import { mkdir, rmdir, stat } from 'node:fs/promises';
import { failure, fromSystemError } from '../errors';
import { checkFileName } from './file-name';

/** Whether the folder had to be made. USAGE when something else is there, NOT_FOUND when its parent is missing. */
export async function makeFolder(path: string): Promise<boolean> {
  checkFileName(path);
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return false;
    if (code === 'EEXIST') throw failure('USAGE', path, 'it exists and is no folder');
    if (code === 'ENOENT')
      throw failure('NOT_FOUND', path, 'its parent folder does not exist', 'create it first');
    throw fromSystemError(path, error);
  }
}

/** Leaves a folder that something is in. */
export async function removeIfEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT' && code !== 'ENOTDIR') throw fromSystemError(folder, error);
  });
}
