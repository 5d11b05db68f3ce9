import { createHash } from 'node:crypto';
import { failure } from '../errors';
import { digestSizes, parseDigest } from '../format/digest';
import { verityLevels } from '../format/verity-tree-size';
import type { BlobTree } from '../layer/verity-section';

/** Reads bytes of the blob. */
type ReadBlob = (offset: number, length: number) => Promise<Buffer>;

interface Level {
  /** Of its first block, from the tree's beginning. */
  offset: number;
  blocks: number;
}

/**
 * Parts of a Merkle tree (docs/format/verity.md), each block compared with its digest in the block above, up to the root digest, before it
 * is handed out. Blocks above the one asked for are fetched as well; those of all levels but the lowest are kept: a part in a hundred.
 */
export class VerifiedTree {
  private readonly levels: Level[] = [];
  private readonly kept = new Map<number, Promise<Buffer>>();
  private readonly blockSize: number;
  private readonly digestSize: number;

  constructor(
    private readonly what: string,
    private readonly tree: BlobTree,
    private readonly readBlob: ReadBlob,
  ) {
    const { algorithm, hashBlockSize, dataBlocks } = tree.superblock;
    this.blockSize = hashBlockSize;
    this.digestSize = digestSizes[algorithm];
    let offset = 0;
    for (const blocks of verityLevels({ algorithm, hashBlockSize, dataBlocks })) {
      this.levels.push({ offset, blocks });
      offset += blocks * hashBlockSize;
    }
  }

  /** Compares `bytes`, which are whole blocks of the tree from `offset` (counted from the tree's beginning). MISMATCH names the block. */
  async check(bytes: Buffer, offset: number): Promise<void> {
    for (let at = 0; at < bytes.length; at += this.blockSize) {
      await this.checkBlock(bytes.subarray(at, at + this.blockSize), offset + at);
    }
  }

  private async checkBlock(block: Buffer, offset: number): Promise<void> {
    const level = this.levels.findLastIndex((candidate) => candidate.offset <= offset);
    const index = (offset - this.levels[level]!.offset) / this.blockSize;
    const expected = level === 0 ? this.root() : await this.digestIn(level - 1, index);
    const { algorithm, salt } = this.tree.superblock;
    const actual = createHash(algorithm).update(salt).update(block).digest();
    if (actual.equals(expected)) return;
    throw failure(
      'MISMATCH',
      this.what,
      `block ${offset / this.blockSize} of the dm-verity tree is not what its parent says`,
    );
  }

  private root(): Buffer {
    return Buffer.from(parseDigest(this.tree.rootDigest).hex, 'hex');
  }

  /** The digest of block `index` of the level below `level`. */
  private async digestIn(level: number, index: number): Promise<Buffer> {
    const perBlock = this.blockSize / this.digestSize;
    const block = await this.parent(level, Math.floor(index / perBlock));
    const at = (index % perBlock) * this.digestSize;
    return block.subarray(at, at + this.digestSize);
  }

  private parent(level: number, index: number): Promise<Buffer> {
    const offset = this.levels[level]!.offset + index * this.blockSize;
    const known = this.kept.get(offset);
    if (known !== undefined) return known;
    const fetched = this.fetch(offset);
    this.kept.set(offset, fetched);
    fetched.catch(() => this.kept.delete(offset));
    return fetched;
  }

  private async fetch(offset: number): Promise<Buffer> {
    const block = await this.readBlob(this.tree.treeOffset + offset, this.blockSize);
    await this.checkBlock(block, offset);
    return block;
  }
}
