import type { CompressedContext, CompressedInode } from './context';
import { corrupt, roundUp } from './limits';

const headerSize = 8;
const adviseCompact2B = 1; // compact indexes
const adviseExtents = 1; // full indexes
const adviseBigHead1 = 2;
const adviseBigHead2 = 4;
const adviseInlineTail = 8;
const adviseInterlaced = 0x10;
const adviseFragment = 0x20;
const wholeFragmentBit = 1n << 63n;

/** The whole file is a part of the packed inode's data. */
interface WholeFragment {
  kind: 'fragment';
  offset: number;
}

/** The map is an index with one entry for each logical cluster. */
export interface ClusterHeader {
  kind: 'clusters';
  /** Where the index begins. */
  indexStart: number;
  lclusterBits: number;
  /** HEAD1's and HEAD2's. */
  algorithms: [number, number];
  /** Whether HEAD1's, and HEAD2's and PLAIN's, physical clusters may have more than one block. */
  big: [boolean, boolean];
  /** Compact indexes: some are 2 bytes each. */
  compact2B: boolean;
  interlaced: boolean;
  /** Stored bytes of the last extent, which follow the index; 0 = it is an ordinary one. */
  inlineTail: number;
  /** Low 32 bits of where the last extent lies in the packed inode's data; undefined = it is an ordinary one. */
  fragmentTail: number | undefined;
}

/** The map is a list of extents (feature 48BIT). */
export interface ExtentHeader {
  kind: 'extents';
  /** Where the records begin. */
  recordStart: number;
  /** 4 or 8: one record per logical cluster; 16 or 32: `count` records, each with its place in the file. */
  recordSize: 4 | 8 | 16 | 32;
  count: number;
  lclusterBits: number;
  interlaced: boolean;
  fragmentTail: boolean;
}

type MapHeader = WholeFragment | ClusterHeader | ExtentHeader;

/** Where in the packed inode's data: CORRUPT when no file can be so long. */
export function fragmentOffset(
  context: CompressedContext,
  inode: CompressedInode,
  low: number,
  high: number,
): number {
  const offset = high * 2 ** 32 + low;
  if (Number.isSafeInteger(offset + inode.size)) return offset;
  throw corrupt(context, inode, `its fragment lies at byte ${offset}, where no file reaches`);
}

/** Reads the 8 bytes in front of a compressed file's map. */
export async function readMapHeader(context: CompressedContext, inode: CompressedInode): Promise<MapHeader> {
  const start = roundUp(inode.mapStart, headerSize);
  const bytes = await context.readMetadata(start, headerSize);
  const whole = bytes.readBigUInt64LE(0);
  if ((whole & wholeFragmentBit) !== 0n) {
    const offset = whole ^ wholeFragmentBit;
    const [low, high] = [Number(offset & 0xffffffffn), Number(offset >> 32n)];
    return { kind: 'fragment', offset: fragmentOffset(context, inode, low, high) };
  }
  const isExtents = inode.layout === 'full' && (bytes.readUInt16LE(4) & adviseExtents) !== 0;
  return isExtents
    ? extentHeader(context, bytes, start + headerSize)
    : clusterHeader(context, inode, bytes, start + headerSize);
}

function lclusterBits(context: CompressedContext, bytes: Buffer): number {
  return Math.log2(context.blockSize) + (bytes[7]! & 15);
}

function extentHeader(context: CompressedContext, bytes: Buffer, end: number): ExtentHeader {
  const advise = bytes.readUInt16LE(4);
  const recordSize = ([4, 8, 16, 32] as const)[(advise >> 1) & 3]!;
  return {
    kind: 'extents',
    recordStart: roundUp(end, recordSize),
    recordSize,
    count: bytes.readUInt16LE(6) * 2 ** 32 + bytes.readUInt32LE(0),
    lclusterBits: lclusterBits(context, bytes),
    interlaced: (advise & adviseInterlaced) !== 0,
    fragmentTail: (advise & adviseFragment) !== 0,
  };
}

function clusterHeader(
  context: CompressedContext,
  inode: CompressedInode,
  bytes: Buffer,
  end: number,
): ClusterHeader {
  const advise = bytes.readUInt16LE(4);
  const big: [boolean, boolean] = [(advise & adviseBigHead1) !== 0, (advise & adviseBigHead2) !== 0];
  if (inode.layout === 'compact' && big[0] !== big[1]) {
    throw corrupt(context, inode, 'its compact index has large clusters for one of two algorithms only');
  }
  const hasFragment = (advise & adviseFragment) !== 0;
  const hasInline = !hasFragment && (advise & adviseInlineTail) !== 0;
  return {
    kind: 'clusters',
    indexStart: inode.layout === 'full' ? end + 8 : end,
    lclusterBits: lclusterBits(context, bytes),
    algorithms: [bytes[6]! & 15, bytes[6]! >> 4],
    big,
    compact2B: (advise & adviseCompact2B) !== 0,
    interlaced: (advise & adviseInterlaced) !== 0,
    inlineTail: hasInline ? bytes.readUInt16LE(2) : 0,
    fragmentTail: hasFragment ? bytes.readUInt32LE(0) : undefined,
  };
}
