import { fromSystemError } from '../errors';
import { openTemporary, type TemporaryFile } from '../fs/temporary';
import { writeFully } from '../fs/write-fully';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { asByteSource } from './native-byte-source';

const pieceSize = 4 << 20;

/** Whether the bytes of a source lie in a file, so that native code can read them. */
export function isBlobFile(source: ByteSource): source is BlobFile {
  return 'fd' in source && 'offset' in source;
}

/** The bytes of a source in a file: its own if it has one, else a temporary one. Takes the source over, also when this fails. */
export async function spool(source: ByteSource, options: ResourceOptions): Promise<BlobFile> {
  if (isBlobFile(source)) return source;
  try {
    const temporary = await openTemporary(options.tmpDir);
    try {
      await copy(source, temporary, options);
      return asBlobFile(temporary, source);
    } catch (error) {
      await temporary.close();
      throw error;
    }
  } finally {
    await source.close();
  }
}

async function copy(source: ByteSource, target: TemporaryFile, { signal, onProgress }: ResourceOptions) {
  const { size, name } = source;
  for (let done = 0; done < size;) {
    const piece = await source.read(done, Math.min(pieceSize, size - done), signal);
    await writeFully(target.fd, piece, done).catch((error: unknown) => {
      throw fromSystemError(target.name, error);
    });
    done += piece.length;
    onProgress?.({ phase: 'fetch', item: name, done, total: size, unit: 'bytes' });
  }
}

function asBlobFile(file: TemporaryFile, { size, name }: ByteSource): BlobFile {
  const slice = { fd: file.fd, offset: 0, size, name };
  const reader = asByteSource(new native.Source(slice), name);
  return {
    ...slice,
    read: (offset, length) => reader.read(offset, length),
    close: async () => {
      await reader.close();
      await file.close();
    },
  };
}
