import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fromSystemError } from '../errors';
import { unfinishedPrefix } from './atomic-file';

/** A file without a name: it is gone with its descriptor, however the process ends. */
export interface TemporaryFile {
  /** Open for reading and writing until close(). */
  readonly fd: number;
  /** For errors. */
  readonly name: string;
  close(): Promise<void>;
}

/** Opens an empty file in `folder` (default: the system's for temporary files) and unlinks it. */
export async function openTemporary(folder = tmpdir()): Promise<TemporaryFile> {
  const path = join(folder, `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
  const name = `temporary file in ${folder}`;
  try {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return { fd: handle.fd, name, close: () => handle.close() };
  } catch (error) {
    throw fromSystemError(name, error);
  }
}
