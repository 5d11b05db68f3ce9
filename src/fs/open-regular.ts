import { closeSync, fstatSync, type Stats } from 'node:fs';
import { failure, fromSystemError, type SeekableErofsError } from '../errors';
import { native } from '../native/binding';
import { checkFileName } from './file-name';
import { linkRefused } from './inner-folder';

/** Why a folder is refused where a file is wanted. */
export const isDirectory = 'it is a directory, not a file';

/**
 * Opens a regular file for reading: its descriptor, which is the caller's to close, and its size. Errors call it `name`.
 * @throws NOT_FOUND, IO as the system says; USAGE for what is no regular file, and for a link that is not to be followed; CORRUPT for a
 * file that got shorter meanwhile
 */
export async function openRegular(
  path: string,
  name: string,
  followLink: boolean,
): Promise<{ fd: number; size: number }> {
  checkFileName(path);
  const { fd, isFile, size, before } = await native.files
    .openToRead(path, followLink)
    .catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ELOOP' && !followLink) throw linkRefused(name);
      throw fromSystemError(name, error);
    });
  if (isFile && size >= before) return { fd, size };
  try {
    // No bytes at all are a layer as well, which this must not become while we look.
    if (isFile) throw failure('CORRUPT', name, `it had ${before} bytes a moment ago, and has ${size} now`);
    throw noFile(name, fstatSync(fd));
  } finally {
    closeSync(fd);
  }
}

function noFile(name: string, status: Stats): SeekableErofsError {
  return failure(
    'USAGE',
    name,
    status.isDirectory() ? isDirectory : 'it is no regular file',
    isStandardInput(status) ? '`-` is standard input' : undefined,
  );
}

/** Whether somebody named it by /dev/stdin or its like. */
function isStandardInput({ dev, ino }: Stats): boolean {
  try {
    const input = fstatSync(0);
    return input.dev === dev && input.ino === ino;
  } catch {
    return false;
  }
}
