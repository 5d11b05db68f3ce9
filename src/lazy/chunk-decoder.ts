import { failure } from '../errors';
import { serializeVeritySuperblock } from '../format/verity-superblock';
import { decodeFrame, placeFrame } from '../layer/decoded-range';
import type { ChunkPlace } from './chunk-store';
import { rangeOf, type LayerChunks } from './layer-chunks';
import { VerifiedTree } from './verified-tree';

/** Turns bytes of the blob into chunks of the layer's file. Nothing is handed out that was not checked. */
export class ChunkDecoder {
  private readonly tree: VerifiedTree | null;

  /**
   * @param readBlob for blocks of the tree above those that are decoded
   */
  constructor(
    name: string,
    private readonly chunks: LayerChunks,
    readBlob: (offset: number, length: number) => Promise<Buffer>,
  ) {
    this.tree = chunks.tree && new VerifiedTree(name, chunks.tree, readBlob);
  }

  /**
   * A frame is compared with its checksum and decoded; a piece of the tree is compared with the blocks above it. Rejects with what
   * isWrong() tells from errors of the network.
   */
  async decode(chunk: number, bytes: Buffer, name: string): Promise<Buffer> {
    const { frames, frameCount, starts } = this.chunks;
    const size = starts[chunk + 1]! - starts[chunk]!;
    const isFrame = chunk < frameCount;
    const decoded = isFrame
      ? await decodeFrame(bytes, frames, chunk, name)
      : await this.treePiece(chunk, bytes);
    return padded(decoded, size);
  }

  /** Whether a chunk is what its frame decodes to, no more and no less: not a piece of the tree, and not filled up with zeros. */
  isPlain(chunk: number): boolean {
    const { frames, frameCount, starts } = this.chunks;
    return chunk < frameCount && starts[chunk + 1] === frames.starts[chunk + 1];
  }

  /** As decode() of a plain chunk, to its place in a file. Resolves with its SHA-256. */
  place(chunk: number, bytes: Buffer, name: string, target: ChunkPlace): Promise<Uint8Array> {
    return placeFrame(bytes, this.chunks.frames, chunk, name, target);
  }

  private async treePiece(chunk: number, bytes: Buffer): Promise<Buffer> {
    const { treeOffset, superblock } = this.chunks.tree!;
    const { offset } = rangeOf(this.chunks, chunk);
    // Before the tree stands the superblock, which was compared with the descriptor when the blob was opened: it is written anew.
    const skipped = Math.max(0, Math.min(bytes.length, treeOffset - offset));
    await this.tree!.check(bytes.subarray(skipped), offset + skipped - treeOffset);
    const head = Buffer.alloc(skipped);
    if (skipped > 0) head.set(serializeVeritySuperblock(superblock));
    return Buffer.concat([head, bytes.subarray(skipped)]);
  }
}

/** The bytes with zeros behind them, as many as the layer's file has there. */
function padded(bytes: Buffer, size: number): Buffer {
  if (bytes.length === size) return bytes;
  if (bytes.length > size)
    throw failure('CORRUPT', 'chunk', `${bytes.length} bytes where the layer has ${size}`);
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
}
