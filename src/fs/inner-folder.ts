import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, fromSystemError, type SeekableErofsError } from '../errors';

/**
 * Runs `use` on a path of the folder `names` inside of `root`. It is found name by name, and no symbolic link is followed: who made what is
 * in `root` must not lead us out of it. The path is good until `use` ends, whatever is renamed meanwhile.
 * @param options.make makes the folders that are missing
 * @throws NOT_FOUND, USAGE for a link or what is no folder
 */
export async function withInnerFolder<T>(
  root: string,
  names: readonly string[],
  use: (path: string) => Promise<T>,
  { make = false } = {},
): Promise<T> {
  let folder = await openFolder(root, root, 0);
  try {
    for (const [i, name] of names.entries()) {
      const path = join(pathOf(folder), name);
      const shown = join(root, ...names.slice(0, i + 1));
      if (make) await makeIfMissing(path, shown);
      const inner = await openFolder(path, shown, constants.O_NOFOLLOW);
      await folder.close();
      folder = inner;
    }
    return await use(pathOf(folder));
  } finally {
    await folder.close();
  }
}

/** The error for a symbolic link where none is followed. */
export function linkRefused(path: string): SeekableErofsError {
  return failure('USAGE', path, 'a symbolic link, which is not followed here', 'put there what it points to');
}

const pathOf = ({ fd }: FileHandle): string => `/proc/self/fd/${fd}`;

async function openFolder(path: string, shown: string, flags: number): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_DIRECTORY | flags).catch((error: unknown) => {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (flags !== 0 && ['ELOOP', 'ENOTDIR'].includes(code)) {
      throw failure('USAGE', shown, 'a symbolic link, or no folder; links are not followed here');
    }
    throw fromSystemError(shown, error);
  });
}

async function makeIfMissing(path: string, shown: string): Promise<void> {
  await mkdir(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystemError(shown, error);
  });
}
