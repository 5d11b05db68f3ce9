import { SeekableErofsError } from '../errors';

/** The cause of an IO error that may well be gone in a moment: a cut connection, a busy server. */
export class TransientFault extends Error {
  override readonly name = 'TransientFault';

  /** `retryAfter`: milliseconds that the server asked to be left alone, when it did. */
  constructor(
    message: string,
    readonly retryAfter?: number,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** An IO error that retry.ts tries again. */
export function transientFailure(what: string, why: string, retryAfter?: number, cause?: unknown) {
  const fault = new TransientFault(why, retryAfter, cause);
  return new SeekableErofsError('IO', { what, why, cause: fault });
}

/** The fault behind an error that is worth another attempt; null for every other error. */
export function transientFaultOf(error: unknown): TransientFault | null {
  const cause = error instanceof SeekableErofsError && error.code === 'IO' ? error.cause : null;
  return cause instanceof TransientFault ? cause : null;
}
