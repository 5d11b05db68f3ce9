import type { ByteSource } from './byte-source';

/**
 * `source` for reading headers one behind the other where each read is a round trip: fetches at least `window` bytes and serves what
 * follows from them. `signal` is for all of its reads. Closing it leaves `source` open.
 */
export function readAhead(source: ByteSource, window: number, signal?: AbortSignal): ByteSource {
  let held: Buffer = Buffer.alloc(0);
  let start = 0;
  return {
    size: source.size,
    name: source.name,
    async read(offset, length) {
      const at = offset - start;
      if (at < 0 || at + length > held.length) {
        held = await source.read(offset, Math.max(length, Math.min(window, source.size - offset)), signal);
        start = offset;
      }
      return held.subarray(offset - start, offset - start + length);
    },
    async close() {
      // Not ours.
    },
  };
}
