import { failure, type SeekableErofsError } from '../../errors';
import type { CompressedContext, CompressedInode } from './context';

/** The format's own limits of a physical cluster, in bytes: as stored, and decoded. */
export const maxEncoded = 1 << 20;
export const maxDecoded = 12 << 20;

/** CORRUPT, with the inode that is at fault. */
export function corrupt(
  context: Pick<CompressedContext, 'name'>,
  inode: Pick<CompressedInode, 'nid'>,
  why: string,
): SeekableErofsError {
  return failure('CORRUPT', `${context.name}: compressed inode ${inode.nid}`, why);
}

/** `value` rounded up to a multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
