import { constants } from 'node:os';
import { SeekableErofsError, failure } from '../../errors';

/** The numbers that mounting acts on; Node's own list lacks the last. */
export const errno = { ...constants.errno, ENOTBLK: 15 } as const;

/** The number of the system call's refusal that `error` tells of; 0 when it tells of something else. */
export function errnoOf(error: unknown): number {
  return (error as { errno?: number }).errno ?? 0;
}

/** What a bare call of the addon threw, as an error of this package about `what`. Others pass unchanged. */
export function callFailure(what: string, error: unknown, hint?: string): unknown {
  if (error instanceof SeekableErofsError || errnoOf(error) <= 0) return error;
  const { what: call, why } = error as { what: string; why: string };
  const number = errnoOf(error);
  const lacksRight = number === errno.EPERM || number === errno.EACCES;
  const code = lacksRight ? 'MACHINE' : 'IO';
  return new SeekableErofsError(code, {
    what,
    why: `${call}: ${why}`,
    hint: hint ?? (lacksRight ? 'mounting needs root' : undefined),
    cause: error,
  });
}

/** Runs a bare call of the addon; what it throws is about `what`. */
export function call<T>(what: string, run: () => T, hint?: string): T {
  try {
    return run();
  } catch (error) {
    throw callFailure(what, error, hint);
  }
}

/** MACHINE unless this process is root's. `doing` is what needs it. */
export function requireRoot(what: string, doing = 'mounting'): void {
  if (process.geteuid?.() === 0) return;
  const instead = doing === 'mounting' ? ', or read without mounting: ls, cat, extract' : '';
  throw failure('MACHINE', what, `${doing} needs root`, `run it as root${instead}`);
}
