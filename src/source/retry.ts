import { setTimeout as sleep } from 'node:timers/promises';

import { fromSystemError, type SeekableErofsError } from '../errors';
import type { ByteSource } from './byte-source';
import { transientFaultOf, type TransientFault } from './transient';

/** How often to try, and how long to wait in between; all times in milliseconds. */
export interface RetryOptions {
  /** In all, the first one included; default: 5, or any number where `time` says how long to try. */
  attempts?: number | undefined;
  /** How long after its first failure an attempt may be made again; 0: not at all. Default: as long as `attempts` take. */
  time?: number | undefined;
  /** About how long before the second attempt; it doubles from one to the next. Default: 200. */
  firstPause?: number | undefined;
  /** No pause is longer, and a server that asks for a longer one is not tried again. Default: 60000, where `time` is given 5000 of our own. */
  maxPause?: number | undefined;
}

/** Told before each pause: how many attempts have failed, the last of them with what. */
type OnFailure = (failed: number, error: SeekableErofsError) => void;

/**
 * Runs `attempt` until it succeeds, fails for a reason that will not pass (every error but a transient one: wrong bytes stay wrong), or
 * has failed `attempts` times, or for `time`; then rejects with the last error. CANCELLED when `signal` is aborted during a pause.
 */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  options: RetryOptions = {},
  signal?: AbortSignal,
  onFailure?: OnFailure,
): Promise<T> {
  const { time = Infinity, attempts = time === Infinity ? 5 : Infinity, maxPause = 60_000 } = options;
  let giveUp = Infinity;
  for (let failed = 1; ; failed++) {
    try {
      return await attempt();
    } catch (error) {
      const fault = transientFaultOf(error);
      if (failed === 1) giveUp = performance.now() + time;
      if (fault === null || failed >= attempts) throw error;
      const pause = pauseAfter(failed, fault, options);
      if (pause > maxPause || performance.now() + pause > giveUp) throw error;
      onFailure?.(failed, error as SeekableErofsError);
      await sleep(pause, undefined, { signal }).catch((reason: unknown) => {
        throw fromSystemError('retry', reason);
      });
    }
  }
}

/** Random, so that many readers of a server that stumbled do not come back all at once. */
function pauseAfter(failed: number, { retryAfter }: TransientFault, options: RetryOptions): number {
  // Where it counts how long, a server that is back must not be left waiting for half a minute.
  const { firstPause = 200, time, maxPause = time === undefined ? 60_000 : 5000 } = options;
  const jitter = 0.5 + Math.random() / 2;
  const pause = Math.min(firstPause * 2 ** (failed - 1), maxPause) * jitter;
  return Math.max(pause, retryAfter ?? 0);
}

/** `source` with reads that are tried again after network faults and when the server is busy; streams are not. Closing it closes `source`. */
export function retryingSource(
  source: ByteSource,
  options: RetryOptions = {},
  onFailure?: OnFailure,
): ByteSource {
  return {
    size: source.size,
    name: source.name,
    ...(source.stream && { stream: source.stream.bind(source) }),
    read: (offset, length, signal) =>
      withRetries(() => source.read(offset, length, signal), options, signal, onFailure),
    close: () => source.close(),
  };
}
