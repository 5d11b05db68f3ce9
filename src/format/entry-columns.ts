import { failure } from '../errors';
import { readU64, writeU64 } from './little-endian';

/** Where one field of equally long entries lies: the first at `first`, the next ones `stride` bytes further each. */
export interface Column {
  first: number;
  stride: number;
  count: number;
}

/**
 * A column of u64 offsets with `end` behind the last, so that entry i is [result[i], result[i + 1]).
 * CORRUPT, about `what`, unless they begin at 0, rise strictly and stay below `end`.
 * REQUIRES: the column lies inside of `bytes`.
 */
export function readOffsets(
  bytes: Buffer,
  column: Column,
  end: number,
  what: string,
  field: string,
): Float64Array {
  const { first, stride, count } = column;
  const offsets = new Float64Array(count + 1);
  for (let i = 0; i < count; i++) {
    offsets[i] = readU64(bytes, first + i * stride, what, `${field} of entry ${i}`);
  }
  offsets[count] = end;
  const fault = findOffsetFault(offsets, field);
  if (fault !== null) throw failure('CORRUPT', what, fault);
  return offsets;
}

/** What is wrong with a list of offsets that must begin at 0 and rise strictly to its end; null if nothing is. */
export function findOffsetFault(offsets: Float64Array, field: string): string | null {
  const count = offsets.length - 1;
  if (offsets[0] !== 0) {
    return count === 0
      ? `there are no entries, but the end is at ${offsets[0]!}`
      : `${field} of entry 0 is ${offsets[0]!}, not 0`;
  }
  for (let i = 1; i <= count; i++) {
    if (offsets[i]! > offsets[i - 1]!) continue;
    return i === count
      ? `${field} of entry ${i - 1} is ${offsets[i - 1]!}, not before the end at ${offsets[i]!}`
      : `${field} of entry ${i} is ${offsets[i]!}, not beyond ${offsets[i - 1]!} of the entry before`;
  }
  return null;
}

/** Writes offsets as a column of u64, without the end that readOffsets() appended. */
export function writeOffsets(bytes: Buffer, { first, stride, count }: Column, offsets: Float64Array): void {
  for (let i = 0; i < count; i++) writeU64(bytes, offsets[i]!, first + i * stride);
}

/** Gathers a column of `width` bytes each. REQUIRES: it lies inside of `bytes`. */
export function readChecksums(
  bytes: Uint8Array,
  { first, stride, count }: Column,
  width: number,
): Uint8Array {
  const checksums = new Uint8Array(count * width);
  if (width === 0) return checksums;
  for (let i = 0; i < count; i++) {
    const start = first + i * stride;
    checksums.set(bytes.subarray(start, start + width), i * width);
  }
  return checksums;
}

/** The reverse of readChecksums(). */
export function writeChecksums(
  bytes: Uint8Array,
  { first, stride, count }: Column,
  width: number,
  checksums: Uint8Array,
): void {
  if (width === 0) return;
  for (let i = 0; i < count; i++) {
    bytes.set(checksums.subarray(i * width, (i + 1) * width), first + i * stride);
  }
}
