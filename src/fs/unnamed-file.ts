import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

/** open(2)'s flag, which Node has no name for: of the same bits on all machines but for those of O_DIRECTORY. */
const tmpfileFlag = 0o20000000 | constants.O_DIRECTORY;

/** What file systems and kernels say that have no such files. */
const lackingCodes = new Set(['EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'EINVAL', 'ENOSYS']);

/**
 * Opens a new file in `folder` for reading and writing that has no name: it is gone with its descriptor, unless it is given one. Null where
 * the file system has no such files. Other errors are the system's own.
 */
export async function openUnnamed(folder: string, mode: number): Promise<FileHandle | null> {
  try {
    return await open(folder, constants.O_RDWR | tmpfileFlag, mode);
  } catch (error) {
    if (lackingCodes.has((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}
