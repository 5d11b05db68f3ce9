import { createHash } from 'node:crypto';
import { failure } from '../errors';
import { digestSizes, formatDigest } from '../format/digest';
import { isZero } from '../format/little-endian';
import { isSkippableMagic, parseSkippableHeader, skippableHeaderSize } from '../format/skippable-frame';
import {
  checkSuperblockFits,
  parseVeritySuperblock,
  veritySignature,
  veritySuperblockSize,
  type VeritySuperblock,
} from '../format/verity-superblock';
import { verityTreeOffset, verityTreeSize } from '../format/verity-tree-size';
import type { ByteSource } from '../source/byte-source';
import { readDecoded } from './decoded-range';
import type { FrameSection } from './frame-section';

/** The dm-verity tree that a blob carries, its superblock checked against the data's size. */
export interface BlobTree {
  /** As users see it: of the skippable frame's header in the blob (containerd), or in the decoded bytes (erofs-image-spec). */
  offset: number;
  superblock: VeritySuperblock;
  /** `sha512:…`: what the descriptor vouches for, or what the blob's own tree amounts to. */
  rootDigest: string;
  vouched: boolean;
  /** Bytes of the image, which the tree covers. */
  dataSize: number;
  /** Where the bytes below are counted. */
  location: 'blob' | 'image';
  /** Of superblock and padding. */
  payloadOffset: number;
  /** Of the root level; the tree is `treeSize` bytes, 0 for one data block. */
  treeOffset: number;
  treeSize: number;
}

/** The tree in the skippable frame behind the table of a blob of profile "containerd", which must be the last thing in it. */
export async function readContainerdTree(
  blob: ByteSource,
  section: FrameSection,
  { offset, rootDigest }: { offset: number; rootDigest: string },
): Promise<BlobTree> {
  const what = `${blob.name}: dm-verity frame`;
  if (offset !== section.end) {
    throw failure(
      'CORRUPT',
      what,
      `it is said to be at byte ${offset}, but the chunk table ends at ${section.end}`,
    );
  }
  const payload = await openPayload(blob, offset, what);
  const tree = await readSuperblock(payload, section.uncompressedSize, what);
  checkSuperblockFits(tree.superblock, { dataSize: section.uncompressedSize, rootDigest }, what);
  return { ...tree, offset, location: 'blob', rootDigest, vouched: true };
}

/** A tree in a blob whose descriptor says nothing of one, or that has no descriptor; null when there is none. */
export async function findUnvouchedTree(blob: ByteSource, section: FrameSection): Promise<BlobTree | null> {
  const what = `${blob.name}: dm-verity frame`;
  const rest = blob.size - section.end;
  if (rest === 0) return null;
  const start = await blob.read(section.end, Math.min(rest, skippableHeaderSize + veritySignature.length));
  if (start.length < skippableHeaderSize || !isSkippableMagic(start.readUInt32LE(0))) {
    throw failure('CORRUPT', blob.name, `${rest} bytes behind the chunk table are no skippable frame`);
  }
  if (!start.subarray(skippableHeaderSize).equals(veritySignature)) {
    throw failure('CORRUPT', blob.name, 'the skippable frame behind the chunk table is no dm-verity payload');
  }
  const payload = await openPayload(blob, section.end, what);
  const tree = await readSuperblock(payload, section.uncompressedSize, what);
  const rootDigest = await ownRoot(blob, section, tree);
  checkSuperblockFits(tree.superblock, { dataSize: section.uncompressedSize, rootDigest }, what);
  return { ...tree, offset: section.end, location: 'blob', rootDigest, vouched: false };
}

/**
 * The tree at the end of the decoded bytes of a blob of profile "erofs-image-spec". Null when no superblock is where it should begin: then
 * nothing tells how the tree was made, its salt above all, and these bytes are data like others.
 */
export async function readSpecTree(
  blob: ByteSource,
  section: FrameSection,
  verity: { hashOffset: number; rootDigest: string; blockSize: number },
): Promise<BlobTree | null> {
  const what = `${blob.name}: dm-verity tree`;
  const { hashOffset, rootDigest, blockSize } = verity;
  const room = section.uncompressedSize - hashOffset;
  if (hashOffset === 0 || hashOffset % blockSize !== 0 || room < 0) {
    throw failure('CORRUPT', what, `it can't begin at byte ${hashOffset} of ${section.uncompressedSize}`);
  }
  const start = await readDecoded(blob, section.frames, hashOffset, Math.min(room, veritySuperblockSize));
  if (!start.subarray(0, veritySignature.length).equals(veritySignature)) return null;
  const superblock = parseVeritySuperblock(start, what);
  checkSuperblockFits(superblock, { dataSize: hashOffset, rootDigest }, what);
  checkBlockSize(superblock, blockSize, what);
  const treeSize = verityTreeSize(superblock);
  const treeOffset = hashOffset + verityTreeOffset(superblock.hashBlockSize);
  if (treeOffset + treeSize !== section.uncompressedSize) {
    throw failure(
      'CORRUPT',
      what,
      `it takes ${treeOffset + treeSize - hashOffset} bytes, but there are ${room}`,
    );
  }
  const at = { location: 'image', payloadOffset: hashOffset, treeOffset, treeSize } as const;
  return { ...at, offset: hashOffset, superblock, rootDigest, vouched: true, dataSize: hashOffset };
}

/** The annotation is of data and hash blocks alike. */
function checkBlockSize(
  { dataBlockSize, hashBlockSize }: VeritySuperblock,
  said: number,
  what: string,
): void {
  if (dataBlockSize === said && hashBlockSize === said) return;
  const why = `its superblock has blocks of ${dataBlockSize} and ${hashBlockSize} bytes, its descriptor says ${said}`;
  throw failure('MISMATCH', what, why);
}

interface Payload {
  blob: ByteSource;
  offset: number;
  size: number;
}

/** The payload of the skippable frame at `offset`, which must end with the blob. */
async function openPayload(blob: ByteSource, offset: number, what: string): Promise<Payload> {
  const room = blob.size - offset - skippableHeaderSize;
  if (room < veritySuperblockSize) {
    throw failure('CORRUPT', what, `at byte ${offset} of ${blob.size} there is no room for a superblock`);
  }
  const { payloadSize } = parseSkippableHeader(await blob.read(offset, skippableHeaderSize), what);
  if (payloadSize !== room) {
    throw failure('CORRUPT', what, `it holds ${payloadSize} bytes, but the blob goes on for ${room}`);
  }
  return { blob, offset: offset + skippableHeaderSize, size: payloadSize };
}

/** Parses the superblock; the payload must have exactly the size that it implies, and zeros between superblock and tree. */
async function readSuperblock({ blob, offset, size }: Payload, dataSize: number, what: string) {
  const superblock = parseVeritySuperblock(await blob.read(offset, veritySuperblockSize), what);
  // The kernel takes it, the format's first implementation doesn't.
  if (isZero(superblock.uuid)) throw failure('CORRUPT', what, 'the UUID of its superblock is zero');
  const start = verityTreeOffset(superblock.hashBlockSize);
  const treeSize = verityTreeSize(superblock);
  // The reference writes the bare superblock for an image of one block; the kernel needs a whole one.
  const bare = treeSize === 0 && size === veritySuperblockSize;
  if (!bare && size !== start + treeSize) {
    throw failure('CORRUPT', what, `${size} bytes, but superblock and tree take ${start + treeSize}`);
  }
  const padding = bare ? 0 : start - veritySuperblockSize;
  if (!isZero(await blob.read(offset + veritySuperblockSize, padding))) {
    throw failure('CORRUPT', what, 'the bytes between superblock and tree are not zero');
  }
  return {
    superblock,
    dataSize,
    payloadOffset: offset,
    treeOffset: offset + (bare ? size : start),
    treeSize,
  };
}

/** The digest of the blob's own top hash block: of the data itself when it is one block. */
async function ownRoot(
  blob: ByteSource,
  { frames }: FrameSection,
  tree: Pick<BlobTree, 'superblock' | 'treeSize' | 'treeOffset' | 'dataSize'>,
): Promise<string> {
  const { algorithm, salt, hashBlockSize, dataBlockSize } = tree.superblock;
  const hash = createHash(algorithm).update(salt);
  if (tree.treeSize > 0) {
    hash.update(await blob.read(tree.treeOffset, hashBlockSize));
  } else {
    const data = await readDecoded(blob, frames, 0, Math.min(tree.dataSize, dataBlockSize));
    hash.update(data).update(Buffer.alloc(dataBlockSize - data.length));
  }
  return formatDigest(algorithm, hash.digest().subarray(0, digestSizes[algorithm]));
}
