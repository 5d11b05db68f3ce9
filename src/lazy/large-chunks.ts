import { createHash } from 'node:crypto';
import { failure, fromSystemError } from '../errors';
import { writeChunks } from '../fs/fd-chunks';
import { openTemporary, type TemporaryFile } from '../fs/temporary';
import { checksumOf } from '../layer/decoded-range';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { ChunkPlace, ChunkStore } from './chunk-store';
import { rangeOf, type LayerChunks } from './layer-chunks';

/** A frame as stored, in a file without a name. */
export interface SpooledFrame {
  file: TemporaryFile;
  /** Of its bytes, by the algorithm of the table's checksums; empty where the table has none. */
  digest: Uint8Array;
}

/** Chunks that are too large for memory: their frames wait in a temporary file beside the store, and go to their places in pieces. */
export class LargeChunks {
  constructor(
    private readonly chunks: LayerChunks,
    private readonly store: ChunkStore,
  ) {}

  /** Keeps a frame that comes in pieces; its file is the caller's to close. Rejects with what ends the pieces, and NO_SPACE. */
  async spool(pieces: AsyncIterable<Buffer> | Iterable<Buffer>, signal?: AbortSignal): Promise<SpooledFrame> {
    const { checksumSize } = this.chunks.frames;
    const hash = checksumSize === 0 ? null : createHash(checksumSize === 64 ? 'sha512' : 'sha256');
    const file = await openTemporary(this.store.folder);
    try {
      await writeChunks(file.fd, hashed(pieces, hash), signal).catch((error: unknown) => {
        throw fromSystemError(file.name, error);
      });
      return { file, digest: hash?.digest() ?? new Uint8Array() };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Compares a frame with its checksum, decodes it to the chunk's place in the store's file, and only then counts it as present.
   * MISMATCH, CORRUPT for wrong bytes.
   */
  async put(chunk: number, frame: SpooledFrame, blobName: string, signal: AbortSignal): Promise<void> {
    const name = `${blobName}: frame ${chunk} at byte ${rangeOf(this.chunks, chunk).offset}`;
    if (!Buffer.from(checksumOf(this.chunks.frames, chunk)).equals(frame.digest))
      throw failure('MISMATCH', name, 'does not have the checksum that the chunk table gives it');
    await this.store.fill(chunk, (target) => this.decode(chunk, frame.file, target, name, signal));
  }

  private async decode(
    chunk: number,
    { fd }: TemporaryFile,
    target: ChunkPlace,
    name: string,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { starts, compression } = this.chunks.frames;
    const length = starts[chunk + 1]! - starts[chunk]!;
    const { size } = rangeOf(this.chunks, chunk);
    if (compression === 'none' && size !== length)
      throw failure('CORRUPT', name, 'is stored raw, but not as long as its chunk');
    const frame = new native.Source({ fd, offset: 0, size, name });
    // Where dm-verity reads the layer, its last chunk is filled up to a whole block.
    const zeros = this.chunks.starts[chunk + 1]! - starts[chunk + 1]!;
    try {
      return await runNative({ signal }, (job) => {
        if (compression === 'zstd') return native.inflateFrame(frame, { length, zeros, name }, target, job);
        const whole = zeros === 0 ? frame : native.concatenate([frame, Buffer.alloc(zeros)]);
        return native.writeSource(whole, target, { threads: 1 }, job);
      });
    } finally {
      frame.close();
    }
  }
}

async function* hashed(
  pieces: AsyncIterable<Buffer> | Iterable<Buffer>,
  hash: ReturnType<typeof createHash> | null,
): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    hash?.update(piece);
    yield piece;
  }
}
