import { fstat } from 'node:fs';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';

import { failure, fromSystemError } from '../errors';

/** A file that is read: open, or by its path. `name` is what errors call it. */
export type InputFile = { readonly fd: number; readonly name: string } | { readonly path: string };

const fstatFd = promisify(fstat);

/**
 * Refuses to write to `output` what is made of `inputs` when it is one of them, under whatever name or link: the output would take the
 * place of what it was made of. USAGE then; inputs that are not there are none.
 */
export async function refuseInputAsOutput(output: string, inputs: readonly InputFile[]): Promise<void> {
  const existing = await identityOf({ path: output });
  if (existing === null) return;
  for (const input of inputs) {
    if ((await identityOf(input)) !== existing) continue;
    const name = 'path' in input ? input.path : input.name;
    const which = name === output ? 'it is read as well' : `it is the same file as ${name}, which is read`;
    throw failure('USAGE', output, `${which}, and would be replaced`, 'write to another file');
  }
}

/** Device and inode; null for what is not there, and for what is no file of its own (a pipe, a terminal). */
async function identityOf(file: InputFile): Promise<string | null> {
  try {
    const status = await ('path' in file
      ? stat(file.path, { bigint: true })
      : fstatFd(file.fd, { bigint: true }));
    return status.isFile() ? `${status.dev} ${status.ino}` : null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return null;
    throw fromSystemError('path' in file ? file.path : file.name, error);
  }
}
