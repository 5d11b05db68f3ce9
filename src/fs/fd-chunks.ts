import { read } from 'node:fs';
import { promisify } from 'node:util';
import { failure } from '../errors';
import { writeFully } from './write-fully';

// Node's file streams close a descriptor when they are destroyed, whatever they are told: these leave it to its owner.

/** A quarter of a MiB: what was sent waits for V8 to collect it, some fifty pieces at a time. */
const chunkSize = 256 << 10;
const readFd = promisify(read);

/**
 * The bytes of an open file from `start` up to `end`, wherever its position is.
 * @throws CORRUPT when the file is shorter.
 */
export async function* readChunks(fd: number, end: number, name: string, start = 0): AsyncGenerator<Buffer> {
  for (let offset = start; offset < end;) {
    const length = Math.min(chunkSize, end - offset);
    const { bytesRead, buffer } = await readFd(fd, Buffer.allocUnsafe(length), 0, length, offset);
    if (bytesRead === 0)
      throw failure('CORRUPT', name, `it ends at offset ${offset}, ${end - offset} bytes too early`);
    offset += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Writes all of `chunks` to an open file, from `start`. */
export async function writeChunks(
  fd: number,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
  start = 0,
): Promise<void> {
  let offset = start;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    await writeFully(fd, chunk, offset);
    offset += chunk.length;
  }
}
