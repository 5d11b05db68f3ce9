import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { failure } from '../../errors';
import { compressionMagicSize, unreadCompression } from '../../format/compressions';
import type { ResourceOptions } from '../../job';
import type { FileSource } from '../../source/file';
import { openNamedFile, SpoolEnd, spooledFile } from '../../source/input-file';
import { readChunks } from '../../fs/fd-chunks';

/**
 * Opens an archive for random access: a file as it is, or an unlinked temporary copy of what is no plain file
 * (`-`, standard input) or gzip-compressed.
 */
export async function openArchiveFile(path: string, options: ResourceOptions): Promise<FileSource> {
  const file = await openNamedFile(path, options);
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
    const inflated = await spooledFile(file.name, options, (fd, signal) => inflate(file, fd, signal));
    await file.close();
    return inflated;
  } catch (error) {
    await file.close();
    throw error;
  }
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
