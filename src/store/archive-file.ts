import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { failure, fromSystemError } from '../errors';
import { compressionMagicSize, unreadCompression } from '../format/compressions';
import { spaceGuard } from '../fs/disk-space';
import { openTemporary } from '../fs/temporary';
import type { ResourceOptions } from '../job';
import { openFileSource, type FileSource } from '../source/file';
import { readChunks, writeChunks } from './fd-chunks';

/**
 * Opens an archive for random access: a file as it is, or an unlinked temporary copy of what is no plain file
 * (`-`, standard input) or gzip-compressed.
 */
export async function openArchiveFile(path: string, options: ResourceOptions): Promise<FileSource> {
  const file = path === '-' ? await spool('standard input', options, copyInput) : await openFileSource(path);
  try {
    const first = await file.read(0, Math.min(compressionMagicSize, file.size));
    const magic = first.toString('hex');
    const compression = magic.startsWith('28b52ffd') ? 'zstd' : unreadCompression(first);
    if (compression !== null) {
      throw failure(
        'UNSUPPORTED',
        file.name,
        `an archive that is compressed by ${compression}`,
        'decompress it first',
      );
    }
    if (!magic.startsWith('1f8b')) return file;
    const inflated = await spool(file.name, options, (fd, signal) => inflate(file, fd, signal));
    await file.close();
    return inflated;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A temporary file of what `fill` writes to its descriptor. */
async function spool(
  name: string,
  { tmpDir, signal }: ResourceOptions,
  fill: (fd: number, signal: AbortSignal | undefined) => Promise<void>,
): Promise<FileSource> {
  const temporary = await openTemporary(tmpDir);
  try {
    await fill(temporary.fd, signal);
    // A descriptor of its own: the file has no other name.
    return await openFileSource(`/proc/self/fd/${temporary.fd}`, name);
  } catch (error) {
    throw fromSystemError(name, error);
  } finally {
    await temporary.close();
  }
}

async function copyInput(fd: number, signal: AbortSignal | undefined): Promise<void> {
  const end = new SpoolEnd(fd, 'standard input', signal);
  await pipeline(process.stdin, end.write, { signal }).catch((error: unknown) => {
    throw end.fault ?? error;
  });
}

async function inflate(file: FileSource, fd: number, signal: AbortSignal | undefined): Promise<void> {
  const compressed = Readable.from(readChunks(file.fd, file.size, file.name));
  const end = new SpoolEnd(fd, file.name, signal);
  try {
    await pipeline(compressed, createGunzip(), end.write, { signal });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_') === true) throw failure('CORRUPT', file.name, `bad gzip data: ${message}`);
    throw end.fault ?? error;
  }
}

/** Writes what is unpacked to a temporary file, as long as its disk has room. */
class SpoolEnd {
  /** What ended the writing: pipeline() may reject with what that did to the stream before. */
  fault: unknown;

  constructor(
    private readonly fd: number,
    private readonly name: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  readonly write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    try {
      await writeChunks(this.fd, this.guarded(chunks), this.signal);
    } catch (error) {
      this.fault = error;
      throw error;
    }
  };

  private async *guarded(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const guard = spaceGuard(this.fd, this.name);
    for await (const piece of pieces) {
      await guard(piece.length);
      yield piece;
    }
  }
}
