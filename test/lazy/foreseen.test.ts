import { expect, test } from 'vitest';
import { Foreseen } from '../../src/lazy/foreseen';

test('what was prefetched is counted as read or not, once, and only if it came for that', () => {
  const foreseen = new Foreseen();
  const here = new Set([0, 1, 2, 3]);
  for (const chunk of [1, 2, 3, 4, 2]) foreseen.add(chunk, chunk === 1); // 1 was here before
  const counts = () => foreseen.counts((chunk) => here.has(chunk));
  expect(counts()).toEqual({ prefetchedRead: 0, prefetchedUnread: 2 }); // 4 is on its way
  expect(foreseen.onRead(1, 2)).toBe(true);
  expect(foreseen.onRead(2, 2)).toBe(true);
  expect(foreseen.onRead(3, 5)).toBe(false);
  expect(counts()).toEqual({ prefetchedRead: 3, prefetchedUnread: 0 });
});
