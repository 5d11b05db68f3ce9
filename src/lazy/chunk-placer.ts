import type { ChunkDecoder } from './chunk-decoder';
import type { ChunkStore } from './chunk-store';
import { isWrong } from './error-kinds';
import type { LargeChunks, SpooledFrame } from './large-chunks';
import { isLargeChunk, type LayerChunks } from './layer-chunks';
import type { LazyObserver } from './observer';

interface ChunkPlacerParts {
  chunks: LayerChunks;
  store: ChunkStore;
  large: LargeChunks;
  decoder: ChunkDecoder;
  observer?: LazyObserver | undefined;
  onWarning: (line: string) => void;
}

/** Puts what came of a layer into its store: checked and decoded first. Of a full disk it warns once, until there is room again. */
export class ChunkPlacer {
  private hasWarnedOfDisk = false;

  /** @param closing ends what is under way */
  constructor(
    private readonly parts: ChunkPlacerParts,
    private readonly closing: AbortSignal,
  ) {}

  /**
   * Checks, decodes and stores a frame. Resolves with the chunk's bytes when there was no room for it, else null. Rejects with what isWrong()
   * knows, and with NO_SPACE for a chunk that is too large for memory.
   */
  async place(chunk: number, frame: Buffer | SpooledFrame, name: string): Promise<Buffer | null> {
    const { chunks, large } = this.parts;
    if (Buffer.isBuffer(frame) && !isLargeChunk(chunks, chunk)) return this.placeSmall(chunk, frame, name);
    const spooled = Buffer.isBuffer(frame) ? await large.spool([frame]) : frame;
    try {
      await large.put(chunk, spooled, name, this.closing);
    } finally {
      if (spooled !== frame) await spooled.file.close();
    }
    return null;
  }

  /** Stores a chunk that was compared with its digest where it comes from. As place(). */
  async placeDecoded(chunk: number, bytes: Buffer): Promise<Buffer | null> {
    try {
      await this.parts.store.write(chunk, bytes);
      return null;
    } catch (error) {
      return this.unstored(error, bytes);
    }
  }

  warnOfDisk(error: unknown, consequence: string): void {
    this.parts.observer?.onFault('disk');
    if (!this.hasWarnedOfDisk) this.parts.onWarning(`${(error as Error).message}; ${consequence}`);
    this.hasWarnedOfDisk = true;
  }

  private async placeSmall(chunk: number, frame: Buffer, name: string): Promise<Buffer | null> {
    const { decoder, store } = this.parts;
    const decoded = decoder.isPlain(chunk) ? null : await decoder.decode(chunk, frame, name);
    try {
      if (decoded !== null) await store.write(chunk, decoded);
      else await store.fill(chunk, (target) => decoder.place(chunk, frame, name, target));
    } catch (error) {
      if (isWrong(error) || this.closing.aborted) throw error;
      return this.unstored(error, decoded ?? decoder.decode(chunk, frame, name));
    }
    this.hasWarnedOfDisk = false;
    return null;
  }

  private unstored<T>(error: unknown, bytes: T): T {
    if (!this.closing.aborted) this.warnOfDisk(error, 'chunks are served without being stored');
    return bytes;
  }
}
