import { failure } from '../errors';
import type { DigestAlgorithm } from './digest';
import { digestSizes } from './digest';
import { veritySuperblockSize } from './verity-superblock';

/** What the size of a Merkle tree of hash type 1 depends on. */
interface TreeShape {
  algorithm: DigestAlgorithm;
  /** Bytes, a power of two from 512 on. */
  hashBlockSize: number;
  /** At least 1. */
  dataBlocks: number;
}

/** Hash blocks of each level, the root's (one block) first; none for a single data block, whose digest is the root. */
export function verityLevels({ algorithm, hashBlockSize, dataBlocks }: TreeShape): number[] {
  const digestsPerBlock = hashBlockSize / digestSizes[algorithm];
  const levels: number[] = [];
  // Exact: dividing a safe integer by a power of two only moves its exponent.
  for (let blocks = dataBlocks; blocks > 1;) {
    blocks = Math.ceil(blocks / digestsPerBlock);
    levels.unshift(blocks);
  }
  return levels;
}

/** Bytes of the tree, superblock not included. UNSUPPORTED beyond 2^53 - 1. */
export function verityTreeSize(shape: TreeShape): number {
  const blocks = verityLevels(shape).reduce((sum, level) => sum + level, 0);
  return checked(blocks * shape.hashBlockSize);
}

/** Bytes from the superblock to the tree: one hash block, or as much as 512 bytes take. */
export function verityTreeOffset(hashBlockSize: number): number {
  return Math.ceil(veritySuperblockSize / hashBlockSize) * hashBlockSize;
}

/** Bytes of superblock, zeros up to a hash block, and tree. UNSUPPORTED beyond 2^53 - 1. */
export function verityPayloadSize(shape: TreeShape): number {
  return checked(verityTreeOffset(shape.hashBlockSize) + verityTreeSize(shape));
}

function checked(size: number): number {
  if (!Number.isSafeInteger(size))
    throw failure('UNSUPPORTED', 'dm-verity tree', 'it is beyond 2^53 - 1 bytes');
  return size;
}
