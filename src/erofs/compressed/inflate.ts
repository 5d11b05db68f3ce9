import { constants, createInflateRaw } from 'node:zlib';

const minChunk = 64; // zlib's own
const maxChunk = 1 << 18;

/**
 * The first `size` bytes that a raw DEFLATE stream decodes to. `whole`: the stream must end there; bytes after it are
 * ignored. Decodes little more than it returns. Rejects with a plain Error that says what is wrong.
 */
export function inflatePrefix(input: Uint8Array, size: number, whole: boolean): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunkSize = Math.min(Math.max(size, minChunk), maxChunk);
    // Without the end of the stream zlib would refuse: a prefix needs no end.
    const finishFlush = whole ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
    const stream = createInflateRaw({ chunkSize, finishFlush });
    const parts: Buffer[] = [];
    let total = 0;
    const settle = (): void => {
      stream.destroy();
      const fits = whole ? total === size : total >= size;
      if (!fits) reject(new Error(`it decodes to ${total > size ? 'more' : 'fewer'} than ${size} bytes`));
      else resolve((parts.length === 1 ? parts[0]! : Buffer.concat(parts)).subarray(0, size));
    };
    stream.on('data', (part: Buffer) => {
      parts.push(part);
      total += part.length;
      if (total > size || (!whole && total === size)) settle();
    });
    stream.on('end', settle);
    stream.on('error', reject);
    // A copy: zlib reads it on another thread, and a caller's memory may be resized or transferred meanwhile.
    stream.end(Buffer.from(input));
  });
}
