import type { ByteSource } from './byte-source';
import { checkRange } from './range';

/**
 * Bytes [offset, offset + size) of `source` as a source of their own. CORRUPT when they are not inside of it. Closing the slice leaves
 * `source` open: its owner closes it.
 */
export function sliceSource(
  source: ByteSource,
  offset: number,
  size: number,
  name = source.name,
): ByteSource {
  checkRange(source, offset, size);
  return {
    size,
    name,
    async read(start, length, signal) {
      checkRange({ name, size }, start, length);
      return source.read(offset + start, length, signal);
    },
    async close() {
      // See above: not ours.
    },
  };
}
