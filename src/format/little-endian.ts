import { failure } from '../errors';

const twoTo32 = 2 ** 32;
/** The upper half of every u64 above 2^53 - 1 is greater than this. */
const highestSafeHalf = 0x1f_ffff;

/** The same memory, with Buffer's readers of integers. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The u64 at `offset`. CORRUPT when it is beyond 2^53 - 1, where numbers stop being exact: no real size is. */
export function readU64(bytes: Buffer, offset: number, what: string, field: string): number {
  const high = bytes.readUInt32LE(offset + 4);
  if (high > highestSafeHalf) {
    throw failure('CORRUPT', what, `${field} is ${bytes.readBigUInt64LE(offset)}, which is beyond 2^53 - 1`);
  }
  return high * twoTo32 + bytes.readUInt32LE(offset);
}

/** Writes a safe integer as u64. */
export function writeU64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32LE(value % twoTo32, offset);
  bytes.writeUInt32LE(Math.floor(value / twoTo32), offset + 4);
}

/** Whether `value` is an integer from `least` to `most`. */
export function isIntegerIn(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

/** Whether all of `bytes` are 0. */
export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
