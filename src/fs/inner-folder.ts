import { closeSync } from 'node:fs';
import { failure, fromSystemError, type SeekableErofsError } from '../errors';
import { native } from '../native/binding';

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
  const fd = await native.files.openFolder(root, names, make).catch((error: unknown) => {
    const { code = '', path = root } = error as NodeJS.ErrnoException;
    if (path !== root && ['ELOOP', 'ENOTDIR'].includes(code)) {
      throw failure('USAGE', path, 'a symbolic link, or no folder; links are not followed here');
    }
    throw fromSystemError(path, error);
  });
  try {
    return await use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd); // of a folder: it waits for nothing
  }
}

/** The error for a symbolic link where none is followed. */
export function linkRefused(path: string): SeekableErofsError {
  return failure('USAGE', path, 'a symbolic link, which is not followed here', 'put there what it points to');
}
