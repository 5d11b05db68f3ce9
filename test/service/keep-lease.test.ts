import { expect, test } from 'vitest';
import type { Clock } from '../../src/service/clock';
import { keepLease } from '../../src/service/fleet-layers';

const lease = { name: 'to a tag', holder: 'a worker', time: 30_000 };

/** Sleeps as often as `turns` says, and then until the end; no time passes. */
function clockOf(turns: number): Clock {
  return {
    now: () => 0,
    random: () => 0,
    sleep: (_time, signal) =>
      turns-- > 0
        ? Promise.resolve()
        : new Promise((_resolve, reject) =>
            signal?.addEventListener('abort', () => {
              reject(new Error('ended'));
            }),
          ),
  };
}

test('whoever has lost a lease is told', async () => {
  const answers = [true, false];
  const kept = keepLease({ renew: () => Promise.resolve(answers.shift()!) }, clockOf(3), lease);
  await new Promise((resolve) => setImmediate(resolve));
  expect(kept.lost.aborted).toBe(true);
  expect(answers).toEqual([]);
});

test('a store that is away takes no lease', async () => {
  let asked = 0;
  const renew = (): Promise<boolean> => Promise.reject(new Error(`away, ${++asked}`));
  const kept = keepLease({ renew }, clockOf(3), lease);
  await new Promise((resolve) => setImmediate(resolve));
  expect([asked, kept.lost.aborted]).toEqual([3, false]);
  kept.end();
});
