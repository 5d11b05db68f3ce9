import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystemError } from '../errors';

/** Time and chance: a simulation has its own. Times in milliseconds. */
export interface Clock {
  now(): number;
  /** CANCELLED when `signal` is aborted meanwhile. */
  sleep(time: number, signal?: AbortSignal): Promise<void>;
  /** From 0 to 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => Date.now(),
  random: Math.random,
  async sleep(time, signal) {
    await sleep(time, undefined, { signal }).catch((error: unknown) => {
      throw fromSystemError('the queue', error);
    });
  },
};
