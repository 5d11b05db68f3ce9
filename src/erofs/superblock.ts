import { failure } from '../errors';
import type { ByteSource } from '../source/byte-source';
import { crc32c } from './crc32c';

/** Where the superblock lies, in bytes. */
export const superblockOffset = 1024;
const magic = 0xe0f5_e1e2;
const baseSize = 128;
const extensionSize = 16;
/** The superblock and what its checksum covers lie in the first 4096 bytes, whatever the block size. */
const headSize = 4096;

const compat = { checksum: 0x1, sharedXattrsInMetabox: 0x8, plainXattrPrefixes: 0x10 } as const;
const incompat = {
  lz4ZeroPadding: 0x1,
  compressionConfigs: 0x2,
  deviceTable: 0x8,
  bit48: 0x80,
  metabox: 0x100,
} as const;
const knownIncompat = 0x1ff;

/** What the superblock says. Block addresses count blocks, sizes bytes. */
export interface Superblock {
  blockSize: number;
  /** Bytes, with extension slots. */
  size: number;
  rootNid: bigint;
  /** As it says; nobody checks these two. */
  inodes: bigint;
  blocks: number;
  /** Compact inodes count seconds from here, and all have the same nanoseconds. */
  epoch: bigint;
  fixedNanoseconds: number;
  /** Seconds after the epoch at which the image was made; 0 if not said. */
  buildTime: number;
  metadataBlock: number;
  sharedXattrBlock: number;
  sharedXattrsInMetabox: boolean;
  uuid: Buffer;
  volumeName: Buffer;
  has48Bit: boolean;
  lz4ZeroPadding: boolean;
  /** Whether `compression` is a bitmap of algorithms, else it is LZ4's distance. */
  hasCompressionConfigs: boolean;
  compression: number;
  extraDevices: number;
  /** Byte offset of the device table. */
  deviceTable: number;
  xattrPrefixes: { count: number; offset: number; plain: boolean };
  /** The inode that holds fragments. */
  packedNid: bigint | undefined;
  /** The inode whose data holds other inodes. */
  metaboxNid: bigint | undefined;
}

/**
 * Reads and checks the superblock. CORRUPT: no EROFS image, a checksum that does not fit, impossible fields. UNSUPPORTED: features that
 * are not known, block sizes beyond 4096.
 */
export async function readSuperblock(source: ByteSource, signal?: AbortSignal): Promise<Superblock> {
  const head = await source.read(0, Math.min(headSize, source.size), signal);
  const bytes = head.subarray(superblockOffset);
  if (bytes.length < baseSize || bytes.readUInt32LE(0) !== magic) {
    throw failure('CORRUPT', source.name, 'it is no EROFS image: no superblock at offset 1024');
  }
  checkFeatures(source.name, bytes);
  const size = baseSize + extensionSize * bytes.readUInt8(13);
  if (size > bytes.length) {
    throw failure('CORRUPT', source.name, `its superblock says that it is ${size} bytes long`);
  }
  const superblock = parse(bytes, size);
  if ((bytes.readUInt32LE(8) & compat.checksum) !== 0) {
    checkChecksum(source.name, bytes, superblock.blockSize);
  }
  return superblock;
}

function checkFeatures(name: string, bytes: Buffer): void {
  const blockBits = bytes.readUInt8(12);
  if (blockBits < 9 || blockBits > 16) {
    throw failure('CORRUPT', name, `its superblock says block size 2^${blockBits}`);
  }
  if (blockBits > 12) {
    throw failure('UNSUPPORTED', name, `its block size is ${2 ** blockBits}, the largest known is 4096`);
  }
  const unknown = (bytes.readUInt32LE(80) & ~knownIncompat) >>> 0;
  if (unknown !== 0) {
    throw failure('UNSUPPORTED', name, `it uses unknown incompatible features: 0x${unknown.toString(16)}`);
  }
  if (bytes.readUInt8(90) !== 0) {
    throw failure('UNSUPPORTED', name, `it uses directory blocks of 2^${bytes.readUInt8(90)} blocks`);
  }
}

function checkChecksum(name: string, bytes: Buffer, blockSize: number): void {
  const length = blockSize > superblockOffset ? blockSize - superblockOffset : blockSize;
  if (bytes.length < length) {
    throw failure(
      'CORRUPT',
      name,
      `it ends inside of its first block, at byte ${superblockOffset + bytes.length}`,
    );
  }
  const covered = Buffer.from(bytes.subarray(0, length));
  covered.writeUInt32LE(0, 4);
  const [expected, actual] = [bytes.readUInt32LE(4), crc32c(covered)];
  if (actual === expected) return;
  const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
  throw failure('CORRUPT', name, `its superblock checksum is ${hex(actual)}, but it says ${hex(expected)}`);
}

function parse(bytes: Buffer, size: number): Superblock {
  const features = bytes.readUInt32LE(80);
  const compatible = bytes.readUInt32LE(8);
  const has = (bit: number): boolean => (features & bit) !== 0;
  const packed = bytes.readBigUInt64LE(96);
  return {
    blockSize: 2 ** bytes.readUInt8(12),
    size,
    ...parseRoot(bytes, has(incompat.bit48)),
    inodes: bytes.readBigUInt64LE(16),
    epoch: bytes.readBigInt64LE(24),
    fixedNanoseconds: bytes.readUInt32LE(32),
    buildTime: bytes.readUInt32LE(108),
    metadataBlock: bytes.readUInt32LE(40),
    sharedXattrBlock: bytes.readUInt32LE(44),
    sharedXattrsInMetabox: (compatible & compat.sharedXattrsInMetabox) !== 0,
    uuid: Buffer.from(bytes.subarray(48, 64)),
    volumeName: Buffer.from(bytes.subarray(64, 80)),
    has48Bit: has(incompat.bit48),
    lz4ZeroPadding: has(incompat.lz4ZeroPadding),
    hasCompressionConfigs: has(incompat.compressionConfigs),
    compression: bytes.readUInt16LE(84),
    extraDevices: has(incompat.deviceTable) ? bytes.readUInt16LE(86) : 0,
    deviceTable: bytes.readUInt16LE(88) * 128,
    xattrPrefixes: {
      count: bytes.readUInt8(91),
      offset: bytes.readUInt32LE(92) * 4,
      plain: (compatible & compat.plainXattrPrefixes) !== 0,
    },
    packedNid: packed === 0n ? undefined : packed,
    metaboxNid: has(incompat.metabox) && size > baseSize ? bytes.readBigUInt64LE(128) : undefined,
  };
}

/** The field of 16 bits holds the root's nid, or the upper bits of the number of blocks where the nid has a field of 64 bits. */
function parseRoot(bytes: Buffer, has48Bit: boolean): { rootNid: bigint; blocks: number } {
  const wide = has48Bit ? bytes.readBigUInt64LE(112) : 0n;
  const narrow = bytes.readUInt16LE(14);
  const blocks = bytes.readUInt32LE(36);
  return wide === 0n
    ? { rootNid: BigInt(narrow), blocks }
    : { rootNid: wide, blocks: blocks + narrow * 2 ** 32 };
}
