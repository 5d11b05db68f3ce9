import { readFile, writeFile } from 'node:fs/promises';
import { failure, fromSystemError } from '../errors';
import type { ByteSource } from '../source/byte-source';

/** Offset and length, 8 bytes each, before the bytes of every read. */
const headSize = 16;

interface SavedRead {
  offset: number;
  bytes: Buffer;
}

/**
 * What opening a blob reads of it (tables, superblocks), kept so that it can be opened again without the network. The bytes are kept as
 * they came: whoever opens the blob again checks them again, against the same descriptor.
 */
export class SavedReads {
  private constructor(private readonly reads: SavedRead[]) {}

  static empty(): SavedReads {
    return new SavedReads([]);
  }

  /** What save() wrote; null when there is none, or when it was cut short. */
  static async load(path: string): Promise<SavedReads | null> {
    const file = await readFile(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw fromSystemError(path, error);
    });
    const reads: SavedRead[] = [];
    for (let at = 0; file !== null && at < file.length;) {
      if (file.length - at < headSize) return null;
      const [offset, length] = [Number(file.readBigUInt64LE(at)), Number(file.readBigUInt64LE(at + 8))];
      at += headSize;
      if (length > file.length - at) return null;
      reads.push({ offset, bytes: file.subarray(at, at + length) });
      at += length;
    }
    return file === null ? null : new SavedReads(reads);
  }

  /** Written anew each time: it is small, and what a crash leaves of it is noticed by load() or by the digests. */
  async save(path: string): Promise<void> {
    const parts = this.reads.flatMap(({ offset, bytes }) => {
      const head = Buffer.alloc(headSize);
      head.writeBigUInt64LE(BigInt(offset), 0);
      head.writeBigUInt64LE(BigInt(bytes.length), 8);
      return [head, bytes];
    });
    await writeFile(path, Buffer.concat(parts), { mode: 0o600 }).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
  }

  /** `source`, whose reads are kept from now on. */
  recording(source: ByteSource): ByteSource {
    const read = async (offset: number, length: number, signal?: AbortSignal): Promise<Buffer> => {
      const bytes = await source.read(offset, length, signal);
      this.reads.push({ offset, bytes: Buffer.from(bytes) });
      return bytes;
    };
    return { name: source.name, size: source.size, read, close: () => Promise.resolve() };
  }

  /** A source that has these bytes alone; NOT_FOUND for all others. */
  replaying({ name, size }: Pick<ByteSource, 'name' | 'size'>): ByteSource {
    const read = (offset: number, length: number): Promise<Buffer> => {
      const found = this.reads.find(
        ({ offset: start, bytes }) => start <= offset && offset + length <= start + bytes.length,
      );
      if (found !== undefined) {
        return Promise.resolve(found.bytes.subarray(offset - found.offset, offset - found.offset + length));
      }
      return Promise.reject(failure('NOT_FOUND', name, `bytes from ${offset} on were not kept`));
    };
    return { name, size, read, close: () => Promise.resolve() };
  }
}
