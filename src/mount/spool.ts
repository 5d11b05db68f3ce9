import { fromSystemError } from '../errors';
import { openTemporary } from '../fs/temporary';
import { writeFully } from '../fs/write-fully';
import type { ResourceOptions } from '../job';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';

const pieceSize = 4 << 20;

/** The bytes of a source in a file: its own if it has one, else a temporary one. Takes the source over. */
export async function spool(source: ByteSource, options: ResourceOptions): Promise<BlobFile> {
  if ('fd' in source && 'offset' in source) return source as BlobFile;
  const temporary = await openTemporary(options.tmpDir).catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  try {
    const { signal, onProgress } = options;
    const { size, name } = source;
    for (let done = 0; done < size;) {
      const piece = await source.read(done, Math.min(pieceSize, size - done), signal);
      await writeFully(temporary.fd, piece, done).catch((error: unknown) => {
        throw fromSystemError(temporary.name, error);
      });
      done += piece.length;
      onProgress?.({ phase: 'fetch', item: name, done, total: size, unit: 'bytes' });
    }
    const slice = { fd: temporary.fd, offset: 0 };
    return {
      ...slice,
      size,
      name,
      read: source.read.bind(source),
      close: () => closeBoth(temporary, source),
    };
  } catch (error) {
    await closeBoth(temporary, source);
    throw error;
  }
}

async function closeBoth(temporary: { close(): Promise<void> }, source: ByteSource): Promise<void> {
  await temporary.close();
  await source.close();
}
