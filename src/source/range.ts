import { constants } from 'node:buffer';
import { SeekableErofsError, failure } from '../errors';
import type { ByteSource } from './byte-source';

/** CORRUPT unless [offset, offset + length) lies inside of `source`: offsets mostly come from bytes that nobody vouches for. */
export function checkRange(source: Pick<ByteSource, 'name' | 'size'>, offset: number, length: number): void {
  const end = offset + length;
  if (
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(end) &&
    offset >= 0 &&
    length >= 0 &&
    end <= source.size
  ) {
    return;
  }
  throw failure(
    'CORRUPT',
    source.name,
    `${length} bytes at offset ${offset} are not inside of its ${source.size} bytes`,
  );
}

/** NO_MEMORY when a read of `length` bytes of what is called `name` is more than a Buffer can hold. */
export function checkAllocation(name: string, length: number): void {
  if (length > constants.MAX_LENGTH) throw noMemory(name, length);
}

/** Memory for a read of `source` called `name`; NO_MEMORY when that is more than there can be. */
export function allocateRead(name: string, length: number): Buffer {
  try {
    return Buffer.allocUnsafe(length);
  } catch (cause) {
    throw noMemory(name, length, cause);
  }
}

function noMemory(what: string, length: number, cause?: unknown): SeekableErofsError {
  return new SeekableErofsError('NO_MEMORY', { what, why: `no memory for a read of ${length} bytes`, cause });
}
