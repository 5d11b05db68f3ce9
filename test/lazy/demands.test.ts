import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Demands } from '../../src/lazy/demands';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a chunk is waited for as long as it may take, and what asks again at once not as long once more', () => {
  const timeouts: number[] = [];
  const demands = new Demands(60_000, (chunk) => {
    timeouts.push(chunk);
    demands.failed(chunk, new Error('too late'));
  });
  demands.add(7);
  vi.advanceTimersByTime(59_999);
  expect(timeouts).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(timeouts).toEqual([7]);
  demands.add(7); // the kernel, for the same reader
  demands.add(8);
  vi.advanceTimersByTime(1000);
  expect(timeouts).toEqual([7, 7]);
  vi.advanceTimersByTime(1000);
  demands.add(7); // somebody else
  vi.advanceTimersByTime(30_000);
  expect(timeouts).toEqual([7, 7]);
  vi.advanceTimersByTime(30_000);
  expect(timeouts).toEqual([7, 7, 8, 7]);
});

test('chunks whose answer failed are asked for again together, unless they came meanwhile', () => {
  const demands = new Demands(60_000, () => undefined);
  for (const chunk of [1, 2, 3]) demands.add(chunk).faults++;
  const again: number[] = [];
  demands.later([1, 2, 3], (chunk) => again.push(chunk));
  demands.came(2, null);
  vi.advanceTimersByTime(49);
  expect(again).toEqual([]);
  vi.advanceTimersByTime(51);
  expect(again).toEqual([1, 3]);
});

test('work of the server does not share the patience of readers', async () => {
  const demands = new Demands(60_000, () => undefined);
  const wait = (chunk: number): Promise<Buffer | null> =>
    new Promise((resolve, reject) => demands.add(chunk).callers.push({ resolve, reject }));
  const [alone, shared] = [wait(1), wait(2)];
  demands.add(2).isRead = true;
  demands.failCallers(1, new Error('away'));
  demands.failCallers(2, new Error('away'));
  await expect(alone).rejects.toThrow('away');
  await expect(shared).rejects.toThrow('away');
  expect([demands.get(1), demands.get(2)?.isRead]).toEqual([undefined, true]);
});
