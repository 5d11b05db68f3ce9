import { failure } from '../errors';
import type { MetadataArea } from './metadata-area';
import type { Superblock } from './superblock';

const slotSize = 32; // bytes; inode numbers count these
const compactSize = 32;
const extendedSize = 64;
/** Set in the numbers of inodes that lie in the metabox. */
const metaboxBit = 1n << 63n;
const nullBlock = 0xffff_ffff;

/** What an inode is. */
export type FileType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

/** By the type bits of st_mode. */
const fileTypes: Partial<Record<number, FileType>> = {
  0o1: 'fifo',
  0o2: 'char',
  0o4: 'dir',
  0o6: 'block',
  0o10: 'file',
  0o12: 'symlink',
  0o14: 'socket',
};

const layouts = ['plain', 'full', 'inline', 'compact', 'chunks'] as const;
/** How data is stored; "full" and "compact" are compressed. */
type Layout = (typeof layouts)[number];

/** What an image knows about a file, directory … : `stat`. */
export interface ErofsInode {
  /** Inode number: equal for hard links. */
  readonly nid: bigint;
  readonly type: FileType;
  /** Permission bits, with set-user-ID, set-group-ID, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** As the image says; nothing vouches for it. */
  readonly nlink: number;
  /** Bytes. */
  readonly size: number;
  /** Seconds, rounded down, since 1970. */
  readonly mtime: { readonly seconds: bigint; readonly nanoseconds: number };
  /** Of devices, else null. */
  readonly rdev: { readonly major: number; readonly minor: number } | null;
  /** Whether there may be extended attributes. */
  readonly hasXattrs: boolean;
}

/** With what the reader needs to find data and xattrs. Offsets are in bytes of `area`. */
export interface Inode extends ErofsInode {
  readonly area: MetadataArea;
  readonly layout: Layout;
  readonly xattrStart: number;
  readonly xattrSize: number;
  /** Where inode and xattrs end: an inline tail, a chunk map or a cluster map follows. */
  readonly bodyEnd: number;
  /** The first data block; null: the whole file is a hole. Of compressed files, the number of blocks. */
  readonly startBlock: number | null;
  readonly chunkFormat: number;
}

/** Finds inodes by number. */
export class InodeTable {
  constructor(
    private readonly superblock: Superblock,
    private readonly main: MetadataArea,
    /** The data of the metabox inode. */
    private readonly metabox?: MetadataArea,
  ) {}

  /** The inode, at once when its bytes are in memory. CORRUPT and UNSUPPORTED as parseInode(). */
  get(nid: bigint): Inode | Promise<Inode> {
    const { area, offset } = this.locate(nid);
    const length = Math.min(extendedSize, area.size - offset);
    const bytes = area.peek(offset, length);
    if (bytes !== undefined) return parseInode(bytes, { nid, area, offset }, this.superblock);
    return area.read(offset, length).then((read) => parseInode(read, { nid, area, offset }, this.superblock));
  }

  /** Whether the inode came from here, and so may be asked for its data. */
  owns(inode: ErofsInode): inode is Inode {
    const { area } = inode as Partial<Inode>;
    return area !== undefined && (area === this.main || area === this.metabox);
  }

  private locate(nid: bigint): { area: MetadataArea; offset: number } {
    const inMetabox = nid >= metaboxBit;
    const area = inMetabox ? this.metabox : this.main;
    if (area === undefined)
      throw corrupt(this.main.name, nid, 'it is in a metabox, which this image has not');
    const base = inMetabox ? 0 : this.superblock.metadataBlock * this.superblock.blockSize;
    const offset = base + Number(BigInt.asUintN(63, nid)) * slotSize;
    if (offset + compactSize > area.size) {
      throw corrupt(area.name, nid, `it would be at offset ${offset} of ${area.size} bytes`);
    }
    return { area, offset };
  }
}

/** Whether an inode number points into the metabox. */
export function isInMetabox(nid: bigint): boolean {
  return nid >= metaboxBit;
}

/** An error about one inode. */
export function corrupt(image: string, nid: bigint, why: string): Error {
  return failure('CORRUPT', image, `inode ${nid}: ${why}`);
}

/** An error about one inode that is legal, but not read here. */
export function unsupported(image: string, nid: bigint, why: string): Error {
  return failure('UNSUPPORTED', image, `inode ${nid}: ${why}`);
}

interface Place {
  nid: bigint;
  area: MetadataArea;
  offset: number;
}

/**
 * Reads an inode of either form. CORRUPT for a mode without type, impossible sizes and times; UNSUPPORTED for unknown format bits and
 * layouts, and for sizes beyond 2^53.
 */
function parseInode(bytes: Buffer, place: Place, superblock: Superblock): Inode {
  const { nid, area, offset } = place;
  const format = bytes.readUInt16LE(0);
  const layout = layouts[(format >> 1) & 7];
  if (format >> 5 !== 0 || layout === undefined) {
    throw unsupported(area.name, nid, `unknown format 0x${format.toString(16)}`);
  }
  const extended = (format & 1) === 1;
  const inodeSize = extended ? extendedSize : compactSize;
  if (bytes.length < inodeSize) throw corrupt(area.name, nid, 'the image ends inside of it');
  const mode = bytes.readUInt16LE(4);
  const type = fileTypes[mode >> 12];
  if (type === undefined) throw corrupt(area.name, nid, `mode 0${mode.toString(8)} has no known type`);
  const xattrCount = bytes.readUInt16LE(2);
  const xattrSize = xattrCount === 0 ? 0 : 12 + 4 * (xattrCount - 1);
  const fields = extended ? readExtended(bytes, place) : readCompact(bytes, superblock);
  const u = bytes.readUInt32LE(16);
  // Bit 4 makes the link count of a compact inode an address; of a directory, it only says that "." is left out.
  const oneLink = !extended && type !== 'dir' && (format & 0x10) !== 0;
  const wide = oneLink || (extended && superblock.has48Bit);
  // Field by field: spreading objects made this the slowest part of a walk by far.
  return {
    nid,
    type,
    mode: mode & 0o7777,
    uid: fields.uid,
    gid: fields.gid,
    nlink: oneLink ? 1 : fields.nlink,
    size: fields.size,
    mtime: fields.mtime,
    rdev: type === 'char' || type === 'block' ? decodeDevice(u) : null,
    hasXattrs: xattrSize > 0,
    area,
    layout,
    xattrStart: offset + inodeSize,
    xattrSize,
    bodyEnd: offset + inodeSize + xattrSize,
    startBlock: startBlock(layout, u, wide ? bytes.readUInt16LE(6) : undefined),
    chunkFormat: layout === 'chunks' ? u & 0xffff : 0,
  };
}

type VersionFields = Pick<Inode, 'uid' | 'gid' | 'nlink' | 'size' | 'mtime'>;

function readCompact(bytes: Buffer, superblock: Superblock): VersionFields {
  return {
    nlink: bytes.readUInt16LE(6),
    size: bytes.readUInt32LE(8),
    // Kernels before 6.15 ignore the offset, newer ones add it, whatever the features say.
    mtime: {
      seconds: superblock.epoch + BigInt(bytes.readUInt32LE(12)),
      nanoseconds: superblock.fixedNanoseconds,
    },
    uid: bytes.readUInt16LE(24),
    gid: bytes.readUInt16LE(26),
  };
}

function readExtended(bytes: Buffer, { nid, area }: Place): VersionFields {
  const sizeHigh = bytes.readUInt32LE(12);
  if (sizeHigh >= 0x8000_0000) throw corrupt(area.name, nid, 'its size is negative');
  if (sizeHigh > 0x1f_ffff) throw unsupported(area.name, nid, 'its size is beyond 2^53 - 1');
  const nanoseconds = bytes.readUInt32LE(40);
  if (nanoseconds >= 1e9) throw corrupt(area.name, nid, `its time has ${nanoseconds} nanoseconds`);
  return {
    size: sizeHigh * 2 ** 32 + bytes.readUInt32LE(8),
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    mtime: { seconds: bytes.readBigInt64LE(32), nanoseconds },
    nlink: bytes.readUInt32LE(44),
  };
}

/** `high` is undefined where addresses have 32 bits. Only a plain file can be a hole as a whole. */
function startBlock(layout: Layout, low: number, high: number | undefined): number | null {
  const isNull = low === nullBlock && (high ?? 0xffff) === 0xffff;
  if (layout === 'plain' && isNull) return null;
  return low + (high ?? 0) * 2 ** 32;
}

/** 12 bits major in the middle of 20 bits minor. */
function decodeDevice(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xf_ff00) };
}
