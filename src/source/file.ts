import { closeSync, read } from 'node:fs';
import { promisify } from 'node:util';

import { failure, fromSystemError } from '../errors';
import { openRegular } from '../fs/open-regular';
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

const readFile = promisify(read);

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
  const { fd, size } = await openRegular(path, name, followLink);
  const file = new OpenFile(fd, name, size);
  const source: FileSource = {
    fd,
    offset: 0,
    size,
    name,
    read: (offset, length, signal) => file.read(offset, length, signal),
    close: () => file.close(),
  };
  fileSources.add(source);
  return source;
}

/** A descriptor that is closed when nobody reads from it any more: its number may be another file's then. */
class OpenFile {
  private isOpen = true;
  private reading = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly fd: number,
    readonly name: string,
    readonly size: number,
  ) {}

  async read(offset: number, length: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const { name } = this;
    checkRange(this, offset, length);
    const buffer = allocateRead(name, length);
    for (let done = 0; done < length;) {
      if (signal?.aborted === true) throw failure('CANCELLED', name, 'cancelled');
      const count = await this.readOnce(buffer, done, offset + done);
      if (count === 0) {
        throw failure(
          'CORRUPT',
          name,
          `it ends at offset ${offset + done}, ${length - done} bytes too early`,
        );
      }
      done += count;
    }
    return buffer;
  }

  private async readOnce(buffer: Buffer, start: number, position: number): Promise<number> {
    if (!this.isOpen) throw failure('IO', this.name, 'it is closed');
    this.reading++;
    try {
      const length = Math.min(buffer.length - start, maxRead);
      return (await readFile(this.fd, buffer, start, length, position)).bytesRead;
    } catch (error) {
      throw fromSystemError(this.name, error);
    } finally {
      this.reading--;
      this.closeIfUnused();
    }
  }

  close(): Promise<void> {
    if (!this.isOpen) return Promise.resolve();
    this.isOpen = false;
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.closeIfUnused();
    });
  }

  private closeIfUnused(): void {
    if (this.isOpen || this.reading > 0) return;
    closeSync(this.fd); // what was only read waits for nothing
    for (const resolve of this.waiting) resolve();
  }
}
