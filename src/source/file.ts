import { constants, fstatSync, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, stat } from 'node:fs/promises';

import { failure, fromSystemError } from '../errors';
import { checkFileName } from '../fs/file-name';
import { linkRefused } from '../fs/inner-folder';
import type { ByteSource } from './byte-source';
import { allocateRead, checkRange } from './range';

/** Node refuses a single read of 2 GiB. */
const maxRead = 1 << 30;

/** A file, whole, as a source for TypeScript and as a slice (fd, offset, size, name) for native code. */
export interface FileSource extends ByteSource {
  /** Open until close(). */
  readonly fd: number;
  readonly offset: 0;
}

const fileSources = new WeakSet<ByteSource>();

/** Whether native code may read `source` by itself: its bytes are the file's own. */
export function isFileSource(source: ByteSource): source is FileSource {
  return fileSources.has(source);
}

interface FileOpenOptions {
  /** USAGE for a path that is a symbolic link, when false; default: true. */
  followLink?: boolean | undefined;
}

/**
 * Opens a regular file for reading. NOT_FOUND and IO as the system says, USAGE when `path` is no regular file. The size is what it is
 * now; when the file gets shorter, reads are CORRUPT.
 */
export async function openFileSource(
  path: string,
  name = path,
  { followLink = true }: FileOpenOptions = {},
): Promise<FileSource> {
  const { handle, size } = await openRegular(path, name, followLink ? 0 : constants.O_NOFOLLOW);
  try {
    const source: FileSource = {
      fd: handle.fd,
      offset: 0,
      size,
      name,
      read: (offset, length, signal) => readFully(handle, { name, size }, offset, length, signal),
      close: () => handle.close(),
    };
    fileSources.add(source);
    return source;
  } catch (error) {
    await handle.close();
    throw fromSystemError(name, error);
  }
}

async function openRegular(
  path: string,
  name: string,
  flags: number,
): Promise<{ handle: FileHandle; size: number }> {
  checkFileName(path);
  let handle: FileHandle | undefined;
  try {
    const { size } = await stat(path);
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags);
    const status = await handle.stat();
    if (status.isFile() && status.size < size) {
      // No bytes at all are a layer as well, which this must not become while we look.
      throw failure('CORRUPT', name, `it had ${size} bytes a moment ago, and has ${status.size} now`);
    }
    if (status.isFile()) return { handle, size: status.size };
    throw failure(
      'USAGE',
      name,
      status.isDirectory() ? 'it is a directory, not a file' : 'it is no regular file',
      isStandardInput(status) ? '`-` is standard input' : undefined,
    );
  } catch (error) {
    await handle?.close();
    if ((error as NodeJS.ErrnoException).code === 'ELOOP' && flags !== 0) throw linkRefused(name);
    throw fromSystemError(name, error);
  }
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

async function readFully(
  handle: FileHandle,
  file: { name: string; size: number },
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  checkRange(file, offset, length);
  const buffer = allocateRead(file.name, length);
  for (let done = 0; done < length;) {
    if (signal?.aborted === true) throw failure('CANCELLED', file.name, 'cancelled');
    const count = await readOnce(handle, file.name, buffer, done, offset + done);
    if (count === 0) {
      throw failure(
        'CORRUPT',
        file.name,
        `it ends at offset ${offset + done}, ${length - done} bytes too early`,
      );
    }
    done += count;
  }
  return buffer;
}

async function readOnce(handle: FileHandle, name: string, buffer: Buffer, start: number, position: number) {
  try {
    return (await handle.read(buffer, start, Math.min(buffer.length - start, maxRead), position)).bytesRead;
  } catch (error) {
    throw fromSystemError(name, error);
  }
}
