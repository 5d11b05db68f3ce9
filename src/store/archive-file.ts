import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { failure, fromSystemError } from '../errors';
import { compressionMagicSize, unreadCompression } from '../format/compressions';
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
  await pipeline(process.stdin, (chunks: AsyncIterable<Buffer>) => writeChunks(fd, chunks, signal), {
    signal,
  });
}

async function inflate(file: FileSource, fd: number, signal: AbortSignal | undefined): Promise<void> {
  const compressed = Readable.from(readChunks(file.fd, file.size, file.name));
  try {
    await pipeline(
      compressed,
      createGunzip(),
      (chunks: AsyncIterable<Buffer>) => writeChunks(fd, chunks, signal),
      { signal },
    );
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_') === true) throw failure('CORRUPT', file.name, `bad gzip data: ${message}`);
    throw error;
  }
}
