import { LruSpace, type Held } from '../erofs/lru-map';

/**
 * The decoded chunks that were used last, as many as there is room for, which several blobs may share; but the very last stays even when it
 * alone is larger, for a blob of huge chunks could not be read in small pieces otherwise.
 */
export class ChunkCache {
  /** Bytes of the chunks held. */
  bytes = 0;
  private readonly chunks = new Map<number, Held & { chunk: Buffer }>();
  private readonly space: LruSpace;

  /** @param space bytes, of this cache alone or of all that share it */
  constructor(space: number | LruSpace) {
    this.space = typeof space === 'number' ? new LruSpace(space) : space;
  }

  get(index: number): Buffer | undefined {
    const held = this.chunks.get(index);
    if (held === undefined) return undefined;
    this.space.use(held);
    return held.chunk;
  }

  put(index: number, chunk: Buffer): void {
    this.drop(index);
    const held = { chunk, weight: chunk.length, forget: this.forget.bind(this, index) };
    this.chunks.set(index, held);
    this.bytes += chunk.length;
    this.space.add(held);
  }

  clear(): void {
    for (const index of [...this.chunks.keys()]) this.drop(index);
  }

  private drop(index: number): void {
    const held = this.chunks.get(index);
    if (held === undefined) return;
    this.space.remove(held);
    this.forget(index);
  }

  private forget(index: number): void {
    this.bytes -= this.chunks.get(index)?.weight ?? 0;
    this.chunks.delete(index);
  }
}
