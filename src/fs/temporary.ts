import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';

import { fromSystemError } from '../errors';
import { newDraftPath } from './draft';
import { openUnnamed } from './unnamed-file';

/** A file without a name: it is gone with its descriptor, however the process ends. */
export interface TemporaryFile {
  /** Open for reading and writing until close(). */
  readonly fd: number;
  /** For errors. */
  readonly name: string;
  close(): Promise<void>;
}

/** Opens an empty file without a name in `folder` (default: the system's for temporary files). */
export async function openTemporary(folder = tmpdir()): Promise<TemporaryFile> {
  const name = `temporary file in ${folder}`;
  try {
    const handle = (await openUnnamed(folder, 0o600)) ?? (await openUnlinked(folder));
    return { fd: handle.fd, name, close: () => handle.close() };
  } catch (error) {
    throw fromSystemError(name, error);
  }
}

/** For file systems without unnamed files: a kill between the two calls leaves an empty file, which clearDrafts() finds. */
async function openUnlinked(folder: string): Promise<FileHandle> {
  const path = newDraftPath(folder);
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}
