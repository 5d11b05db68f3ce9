import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Takings } from '../../src/lazy/takings';

test('of a long answer no more is taken than memory is meant for, until the first is done', async () => {
  const takings = new Takings();
  const ends: (() => void)[] = [];
  const taken: number[] = [];
  const work = (i: number): Promise<void> =>
    takings.add(1 << 20, new Promise((end) => ends.push(end))).then(() => void taken.push(i));
  const all = (async () => {
    for (let i = 0; i < 12; i++) await work(i);
    await takings.end();
  })();
  await turn();
  expect(ends).toHaveLength(5); // the fifth is here, and waited for
  expect(taken).toHaveLength(4);
  ends[1]!();
  await turn();
  expect(ends).toHaveLength(5);
  ends[0]!();
  await turn();
  expect(ends).toHaveLength(7);
  for (let i = 0; i < 12; i++) {
    ends[i]?.();
    await turn();
  }
  await all;
  expect(takings.count).toBe(12);
});
