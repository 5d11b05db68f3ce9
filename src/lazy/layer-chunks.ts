import type { FrameTable } from '../native/binding';
import type { SeekableBlob } from '../layer/seekable';
import type { BlobTree } from '../layer/verity-section';

/** Bytes of a dm-verity tree that are fetched at once. */
const treePieceSize = 256 << 10;

/** Bytes of a chunk, decoded or as stored, above which it is not held in memory. */
const largeChunk = 16 << 20;

/** Where the bytes of a chunk of the layer's file come from: `size` bytes of the blob from `offset`. */
export interface ChunkRange {
  offset: number;
  size: number;
}

/**
 * What a layer's file is made of: first the chunks of the blob's table, one a frame; then, where the kernel checks the layer and its tree
 * lies behind the frames (profile "containerd"), pieces of the tree. The image is padded with zeros to a block of dm-verity then.
 */
export interface LayerChunks {
  /** Chunk i is the bytes [starts[i], starts[i + 1]) of the file. */
  starts: Float64Array;
  /** How many of them are frames. */
  frames: FrameTable;
  frameCount: number;
  /** The tree behind the frames; null where there is none, or none is wanted. */
  tree: BlobTree | null;
}

/** The kernel reads devices by whole pages. */
const pageSize = 4096;

/**
 * The chunks of an open blob's file. `withTree`: dm-verity is going to read it. `isDevice`: it has the role `device`, and zeros fill its last
 * page.
 */
export function layerChunks(
  blob: SeekableBlob,
  { withTree, isDevice = false }: { withTree: boolean; isDevice?: boolean },
): LayerChunks {
  const { frames } = blob.section;
  const frameCount = frames.starts.length - 1;
  const tree = withTree && blob.tree?.location === 'blob' ? blob.tree : null;
  if (tree === null) {
    const starts = isDevice ? Float64Array.from(frames.starts) : frames.starts;
    if (isDevice && frameCount > 0) starts[frameCount] = Math.ceil(starts[frameCount]! / pageSize) * pageSize;
    return { starts, frames, frameCount, tree };
  }
  const borders = Array.from(frames.starts);
  const { dataBlockSize } = tree.superblock;
  const padded = Math.ceil(blob.imageSize / dataBlockSize) * dataBlockSize;
  borders[frameCount] = padded;
  const end = padded + deviceTreeSize(tree);
  for (let at = padded; at < end;) borders.push((at = Math.min(at + treePieceSize, end)));
  return { starts: Float64Array.from(borders), frames, frameCount, tree };
}

/** Bytes of superblock and tree on a device: the kernel wants a whole block even for a superblock that stands alone. */
function deviceTreeSize({ superblock, payloadOffset, treeOffset, treeSize }: BlobTree): number {
  return Math.max(treeOffset + treeSize - payloadOffset, superblock.hashBlockSize);
}

/** Where chunk `index` lies in the blob. A piece of the tree may be shorter there: zeros follow. */
export function rangeOf(chunks: LayerChunks, index: number): ChunkRange {
  const { frames, frameCount, starts, tree } = chunks;
  if (index < frameCount) {
    const offset = frames.offsets[index]!;
    return { offset, size: frames.offsets[index + 1]! - offset };
  }
  const { payloadOffset, treeOffset, treeSize } = tree!;
  const offset = payloadOffset + starts[index]! - starts[frameCount]!;
  const size = Math.min(starts[index + 1]! - starts[index]!, treeOffset + treeSize - offset);
  return { offset, size };
}

/** Whether a chunk's frame is too large to be held in memory. */
export function isLargeFrame(size: number): boolean {
  return size > largeChunk;
}

/** Whether a chunk is too large to be decoded in memory. */
export function isLargeChunk(chunks: LayerChunks, index: number): boolean {
  return (
    chunks.starts[index + 1]! - chunks.starts[index]! > largeChunk ||
    isLargeFrame(rangeOf(chunks, index).size)
  );
}
