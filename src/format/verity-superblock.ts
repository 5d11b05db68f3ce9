import { failure } from '../errors';
import type { DigestAlgorithm } from './digest';
import { parseDigest } from './digest';
import { asBuffer, isIntegerIn, isPowerOfTwo, isZero, readU64, writeU64 } from './little-endian';

/*
 * The superblock of dm-verity (cryptsetup's on-disk format, version 1), 512 bytes, little-endian:
 *    0 signature   8 version u32   12 hash type u32   16 UUID in text order   32 algorithm, NUL padded to 32 bytes
 *   64 data block size u32   68 hash block size u32   72 data blocks u64   80 salt size u16   88 salt, zero padded to 256 bytes
 * What is not named is zero. Nothing but the descriptor vouches for it: the root digest covers data and tree alone.
 */

export const veritySuperblockSize = 512;
export const veritySignature: Uint8Array = Buffer.from('verity\0\0', 'latin1');
const minVerityBlockSize = 512;
const maxVerityBlockSize = 524_288;
export const maxSaltSize = 256;

const algorithmField = { start: 32, end: 64 };
const saltStart = 88;

/** What a dm-verity superblock says. */
export interface VeritySuperblock {
  /** 1: digest = H(salt, block), slots padded to powers of two. Type 0, Chrome OS's, is not handled. */
  hashType: 1;
  /** 16 bytes in the order of the text. */
  uuid: Uint8Array;
  algorithm: DigestAlgorithm;
  /** Bytes. */
  dataBlockSize: number;
  /** Bytes. */
  hashBlockSize: number;
  dataBlocks: number;
  salt: Uint8Array;
}

/** Parses the first 512 of `bytes`. CORRUPT, about `what`, for whatever the kernel or the format refuses, and for hash type 0. */
export function parseVeritySuperblock(bytes: Uint8Array, what = 'dm-verity superblock'): VeritySuperblock {
  if (bytes.length < veritySuperblockSize) {
    throw failure('CORRUPT', what, `${bytes.length} bytes, less than ${veritySuperblockSize}`);
  }
  const block = asBuffer(bytes).subarray(0, veritySuperblockSize);
  if (!block.subarray(0, 8).equals(veritySignature)) {
    throw failure('CORRUPT', what, `signature is ${block.toString('hex', 0, 8)}, not "verity"`);
  }
  const version = block.readUInt32LE(8);
  if (version !== 1) throw failure('CORRUPT', what, `version is ${version}, not 1`);
  const hashType = block.readUInt32LE(12);
  if (hashType !== 1) throw failure('CORRUPT', what, `hash type is ${hashType}, and only 1 is handled`);
  const superblock: VeritySuperblock = {
    hashType: 1,
    uuid: Uint8Array.from(block.subarray(16, 32)),
    algorithm: readAlgorithm(block, what),
    dataBlockSize: block.readUInt32LE(64),
    hashBlockSize: block.readUInt32LE(68),
    dataBlocks: readU64(block, 72, what, 'number of data blocks'),
    salt: readSalt(block, what),
  };
  const fault = findFault(superblock);
  if (fault !== null) throw failure('CORRUPT', what, fault);
  return superblock;
}

function readAlgorithm(block: Buffer, what: string): DigestAlgorithm {
  const name = block.toString('latin1', algorithmField.start, algorithmField.end).replace(/\0+$/, '');
  if (name === 'sha256' || name === 'sha512') return name;
  throw failure('CORRUPT', what, `hash algorithm is ${JSON.stringify(name)}, neither sha256 nor sha512`);
}

function readSalt(block: Buffer, what: string): Uint8Array {
  const size = block.readUInt16LE(80);
  if (size > maxSaltSize) throw failure('CORRUPT', what, `salt size is ${size}, beyond ${maxSaltSize}`);
  const end = saltStart + size;
  if (!isZero(block.subarray(82, saltStart)) || !isZero(block.subarray(end))) {
    throw failure('CORRUPT', what, 'reserved bytes are not 0');
  }
  return Uint8Array.from(block.subarray(saltStart, end));
}

/** What the sizes of a superblock have that no device can have. */
function findFault({ dataBlockSize, hashBlockSize, dataBlocks, salt }: VeritySuperblock): string | null {
  for (const [name, size] of [
    ['data', dataBlockSize],
    ['hash', hashBlockSize],
  ] as const) {
    if (!isVerityBlockSize(size)) {
      return `${name} block size is ${size}, no power of two from ${minVerityBlockSize} to ${maxVerityBlockSize}`;
    }
  }
  if (dataBlocks === 0) return 'number of data blocks is 0';
  if (!isIntegerIn(dataBlocks * dataBlockSize, 1, Number.MAX_SAFE_INTEGER)) {
    return `${dataBlocks} data blocks of ${dataBlockSize} bytes are beyond 2^53 - 1 bytes`;
  }
  return salt.length > maxSaltSize ? `salt has ${salt.length} bytes, beyond ${maxSaltSize}` : null;
}

/** Whether the kernel's driver could have blocks of this many bytes: a power of two from 512 to 524288. */
export function isVerityBlockSize(size: number): boolean {
  return isPowerOfTwo(size) && size >= minVerityBlockSize && size <= maxVerityBlockSize;
}

/** The 512 bytes of a superblock. USAGE when they could not be parsed again, and for a UUID of zeros, which some readers refuse. */
export function serializeVeritySuperblock(superblock: VeritySuperblock): Buffer {
  const { uuid, salt } = superblock;
  const fault = findFault(superblock);
  if (fault !== null) throw failure('USAGE', 'dm-verity superblock', fault);
  if (uuid.length !== 16 || isZero(uuid)) throw failure('USAGE', 'dm-verity superblock', 'UUID is missing');
  const block = Buffer.alloc(veritySuperblockSize);
  block.set(veritySignature, 0);
  block.writeUInt32LE(1, 8);
  block.writeUInt32LE(superblock.hashType, 12);
  block.set(uuid, 16);
  block.write(superblock.algorithm, algorithmField.start, 'latin1');
  block.writeUInt32LE(superblock.dataBlockSize, 64);
  block.writeUInt32LE(superblock.hashBlockSize, 68);
  writeU64(block, superblock.dataBlocks, 72);
  block.writeUInt16LE(salt.length, 80);
  block.set(salt, saltStart);
  return block;
}

/**
 * MISMATCH, about `what`, unless a superblock is for data of `dataSize` bytes (padded with zeros to a block) and for a root digest's
 * algorithm. Without this the tree that it describes could be right and yet be of something else.
 */
export function checkSuperblockFits(
  superblock: VeritySuperblock,
  expected: { dataSize: number; rootDigest: string },
  what = 'dm-verity superblock',
): void {
  const { algorithm } = parseDigest(expected.rootDigest, what);
  if (superblock.algorithm !== algorithm) {
    throw failure(
      'MISMATCH',
      what,
      `hash algorithm is ${superblock.algorithm}, but the root digest is ${algorithm}`,
    );
  }
  const dataBlocks = Math.ceil(expected.dataSize / superblock.dataBlockSize);
  if (superblock.dataBlocks !== dataBlocks) {
    const covered = `${superblock.dataBlocks} data blocks of ${superblock.dataBlockSize} bytes`;
    throw failure('MISMATCH', what, `${covered}, but ${expected.dataSize} bytes of data make ${dataBlocks}`);
  }
}

/** `cc10cf62-7ca7-…` from 16 bytes. */
export function formatUuid(uuid: Uint8Array): string {
  return Buffer.from(uuid)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
