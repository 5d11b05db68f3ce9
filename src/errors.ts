import { publicName, withoutSecrets } from './public-name';

/** Every error code there is, with the exit code of the program for each. docs/errors.md explains them to users. */
export const exitCodes = {
  /** Wrong usage: a flag, an argument, a combination that makes no sense. */
  USAGE: 2,
  /** The operating system refused (permission, missing file, broken pipe …). */
  IO: 1,
  /** The disk or the quota is full. */
  NO_SPACE: 1,
  /** A thing that was named does not exist: a file, a tag, a platform. */
  NOT_FOUND: 1,
  /** Bytes that break their own format. */
  CORRUPT: 3,
  /** Bytes that are well formed, but not those that a digest, a size or a DiffID promised. */
  MISMATCH: 3,
  /** A tar that the policy refuses. */
  REFUSED: 3,
  /** Nothing vouches for the data, and the user did not allow that. */
  UNVERIFIED: 3,
  /** Legal, but beyond what this program handles. */
  UNSUPPORTED: 1,
  /** The request makes sense, but not for this input (materialising a blob without a tree, say). */
  FAILED: 1,
  /** The machine lacks something: root, a kernel module, a program. */
  MACHINE: 4,
  /** A container's program is not in its image. */
  NO_PROGRAM: 127,
  /** It is there, but can't be executed. */
  NOT_EXECUTABLE: 126,
  NO_MEMORY: 1,
  /** Cancelled by the caller's signal; the program has 143 for SIGTERM, 129 for SIGHUP, 131 for SIGQUIT. */
  CANCELLED: 130,
} as const;

/** A stable error code, for programs to act on. */
export type ErrorCode = keyof typeof exitCodes;

/** What an error is about, why it happened, and what to do: printed as `error: WHAT: WHY (HINT)`, without secrets of URLs. */
export interface ErrorParts {
  what: string;
  why: string;
  hint?: string | undefined;
  cause?: unknown;
}

/** The only class of error that this package throws on purpose. */
export class SeekableErofsError extends Error {
  override readonly name = 'SeekableErofsError';
  readonly what: string;
  readonly why: string;
  readonly hint: string | undefined;

  constructor(
    readonly code: ErrorCode,
    { what, why, hint, cause }: ErrorParts,
  ) {
    const [name, reason] = [publicName(what), withoutSecrets(why)];
    super(`${name}: ${reason}`, cause === undefined ? undefined : { cause });
    this.what = name;
    this.why = reason;
    this.hint = hint === undefined ? undefined : withoutSecrets(hint);
  }

  /** The exit code that the program ends with for this error. */
  get exitCode(): number {
    return exitCodes[this.code];
  }
}

/** Builds an error of `code`; shorter to read at the many places that refuse something. */
export function failure(code: ErrorCode, what: string, why: string, hint?: string): SeekableErofsError {
  return new SeekableErofsError(code, { what, why, hint });
}

/** Turns what Node's own calls throw (ENOENT, ENOSPC …) into an error of this package that names `what`. */
export function fromSystemError(what: string, error: unknown): SeekableErofsError {
  if (error instanceof SeekableErofsError) return error;
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'AbortError')
    return new SeekableErofsError('CANCELLED', { what, why: 'cancelled', cause: error });
  const why = message.replace(/^\w+: /, '').replace(/, \w+( '.*')?$/s, '');
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new SeekableErofsError('NO_SPACE', { what, why, hint: 'free some space', cause: error });
  }
  const kind: ErrorCode = code === 'ENOENT' ? 'NOT_FOUND' : 'IO';
  return new SeekableErofsError(kind, { what, why, cause: error });
}
