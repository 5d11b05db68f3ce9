/**
 * The decoded chunks that were used last, at most `maxBytes` of them; but the very last stays even when it alone is larger, for a blob of
 * huge chunks could not be read in small pieces otherwise.
 */
export class ChunkCache {
  /** Bytes of the chunks held. */
  bytes = 0;
  /** In the order of use. */
  private readonly chunks = new Map<number, Buffer>();

  constructor(private readonly maxBytes: number) {}

  get(index: number): Buffer | undefined {
    const chunk = this.chunks.get(index);
    if (chunk === undefined) return undefined;
    this.chunks.delete(index);
    this.chunks.set(index, chunk);
    return chunk;
  }

  put(index: number, chunk: Buffer): void {
    this.drop(index);
    this.chunks.set(index, chunk);
    this.bytes += chunk.length;
    for (const oldest of this.chunks.keys()) {
      if (this.bytes <= this.maxBytes || oldest === index) break;
      this.drop(oldest);
    }
  }

  clear(): void {
    this.chunks.clear();
    this.bytes = 0;
  }

  private drop(index: number): void {
    this.bytes -= this.chunks.get(index)?.length ?? 0;
    this.chunks.delete(index);
  }
}
