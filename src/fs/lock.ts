import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, open, unlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { failure, fromSystemError } from '../errors';
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
    const handle = await tryAcquire(path, mode);
    if (handle !== null) return { release: () => release(path, handle) };
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

/** The locked file; null while another holds it. */
async function tryAcquire(path: string, mode: number): Promise<FileHandle | null> {
  let handle: FileHandle | undefined;
  try {
    // O_NOFOLLOW: whoever may write to the folder must not lead us to create files elsewhere.
    handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, mode);
    if (native.tryLock(handle.fd) && (await isStillNamed(path, handle))) return handle;
    await handle.close();
    return null;
  } catch (error) {
    await handle?.close();
    throw fromSystemError(path, error);
  }
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

async function release(path: string, handle: FileHandle): Promise<void> {
  try {
    // Removed by somebody else, and made anew, it is the lock of another by now.
    if (await isStillNamed(path, handle)) await unlink(path);
  } catch (error) {
    throw fromSystemError(path, error);
  } finally {
    await handle.close();
  }
}
