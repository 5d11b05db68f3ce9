import type { ErrorCode, SeekableErofsError } from '../../errors';

/** Why a job failed; `code` as of SeekableErofsError. */
export interface BatchError {
  code: ErrorCode;
  message: string;
}

/** `WHAT: WHY (HINT)`. */
export function messageOf({ what, why, hint }: SeekableErofsError): string {
  return `${what}: ${why}${hint === undefined ? '' : ` (${hint})`}`;
}
