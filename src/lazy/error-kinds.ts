import { SeekableErofsError } from '../errors';

/** Whether an error says that bytes came which are not those of the layer. */
export function isWrong(error: unknown): boolean {
  return error instanceof SeekableErofsError && (error.code === 'MISMATCH' || error.code === 'CORRUPT');
}

export function isNoSpace(error: unknown): boolean {
  return error instanceof SeekableErofsError && error.code === 'NO_SPACE';
}

/** Whether an error says that a layer was closed meanwhile. */
export function isCancelled(error: unknown): boolean {
  return error instanceof SeekableErofsError && error.code === 'CANCELLED';
}
