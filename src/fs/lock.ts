import type { FileHandle } from 'node:fs/promises';
import { lstat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { native } from '../native/binding';

/** An exclusive lock that is held. */
export interface Lock {
  /** Removes the lock file and lets the next one in. */
  release(): Promise<void>;
}

interface LockOptions {
  /** Ends the waiting with CANCELLED. */
  signal?: AbortSignal | undefined;
  /** Milliseconds to wait for another holder; FAILED after that. Default: 10 minutes. */
  timeout?: number | undefined;
  /** Permission bits of the file: whoever may read it can keep the lock. Default: 0666, less the umask. */
  mode?: number | undefined;
}

const firstPause = 10;
const maxPause = 250;

/**
 * Waits for the exclusive lock that the file at `path` stands for, and creates it if need be. A holder that dies lets go of it: the lock
 * is flock(2)'s, the file only its name.
 */
export async function acquireLock(
  path: string,
  { signal, timeout = 600_000, mode = 0o666 }: LockOptions = {},
): Promise<Lock> {
  const deadline = performance.now() + timeout;
  for (let pause = firstPause; ; pause = Math.min(pause * 2, maxPause)) {
    if (signal?.aborted === true) throw failure('CANCELLED', path, 'cancelled while waiting for the lock');
    const fd = await native.files.lockFile(path, mode).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
    if (fd !== null) return heldLock(path, fd);
    if (performance.now() >= deadline) {
      throw failure(
        'FAILED',
        path,
        `another process held the lock for ${timeout / 1000} s`,
        'wait for it, or end it',
      );
    }
    await sleep(pause, undefined, { signal }).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
  }
}

/** As acquireLock() of a file that only this user may read; null while another process holds it. */
export async function tryPrivateLock(path: string): Promise<Lock | null> {
  return acquireLock(path, { timeout: 0, mode: 0o600 }).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'FAILED') return null;
    throw error;
  });
}

/** Whether `path` still names the open file. Between an open and a lock, the last holder may have removed it: nobody else looks at that lock. */
export async function isStillNamed(path: string, handle: FileHandle): Promise<boolean> {
  const ours = await handle.stat({ bigint: true });
  const named = await lstat(path, { bigint: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  return named?.ino === ours.ino && named.dev === ours.dev;
}

function heldLock(path: string, fd: number): Lock {
  let isHeld = true;
  const release = async (): Promise<void> => {
    if (!isHeld) return; // the number may be another file's by now
    isHeld = false;
    // Removed by somebody else, and made anew, it is the lock of another by now.
    await native.files.unlockFile(fd, path).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
  };
  return { release };
}
