import type { ByteSource } from '../../src/source/byte-source';
import { checkRange } from '../../src/source/range';

/** Bytes in memory as a source that counts what is read of it. */
export class MemorySource implements ByteSource {
  readonly name = 'memory';
  reads = 0;
  bytesRead = 0;

  constructor(private readonly bytes: Buffer) {}

  get size(): number {
    return this.bytes.length;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    signal?.throwIfAborted();
    checkRange(this, offset, length);
    this.reads++;
    this.bytesRead += length;
    return this.bytes.subarray(offset, offset + length);
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}
