import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FetchQueue, type FetchTarget, type Urgency } from '../../src/lazy/fetch-queue';

/** Frames of `size` bytes behind each other; what was asked for, and how to let it end. */
class Target implements FetchTarget {
  readonly asked: [number, number, Urgency][] = [];
  private readonly ends: (() => void)[] = [];

  constructor(private readonly size = 1000) {}

  rangeOf(chunk: number) {
    return { offset: chunk * this.size, size: this.size };
  }

  async fetch(first: number, last: number, urgency: Urgency): Promise<void> {
    this.asked.push([first, last, urgency]);
    await new Promise<void>((resolve) => this.ends.push(resolve));
  }

  async endAll(): Promise<void> {
    for (const end of this.ends.splice(0)) end();
    await settle();
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await turn();
};
const queueOf = (requests: number): FetchQueue => new FetchQueue({ requests, backgroundRate: Infinity });

test('the most urgent comes first, whatever was asked for before', async () => {
  const queue = queueOf(1);
  const target = new Target();
  queue.want(target, 0, 'background');
  queue.want(target, 10, 'ahead');
  queue.want(target, 20, 'demand');
  queue.want(target, 30, 'prefetch');
  for (let i = 0; i < 4; i++) {
    await settle();
    await target.endAll();
  }
  expect(target.asked.map(([, , urgency]) => urgency)).toEqual(['demand', 'prefetch', 'ahead', 'background']);
});

test('neighbours are one request, at the borders of frames', async () => {
  const queue = queueOf(4);
  const target = new Target();
  for (const chunk of [7, 5, 6, 9]) queue.want(target, chunk, 'ahead');
  await settle();
  expect(target.asked).toEqual([
    [5, 7, 'ahead'],
    [9, 9, 'ahead'],
  ]);
  await target.endAll();
});

test('a reader takes its neighbours along, and what is under way is not fetched again', async () => {
  const queue = queueOf(4);
  const target = new Target();
  queue.want(target, 3, 'ahead');
  queue.want(target, 2, 'demand');
  await settle();
  queue.want(target, 3, 'demand');
  await settle();
  expect(target.asked).toEqual([[2, 3, 'demand']]);
  await target.endAll();
  queue.want(target, 3, 'demand');
  await settle();
  expect(target.asked).toHaveLength(2);
  await target.endAll();
});

test('what nobody waits for leaves room for a reader', async () => {
  const queue = queueOf(4);
  const target = new Target(4 << 20);
  for (let chunk = 0; chunk < 20; chunk += 2) queue.want(target, chunk, 'background');
  await settle();
  expect(target.asked).toHaveLength(2);
  queue.want(target, 100, 'demand');
  await settle();
  expect(target.asked[2]).toEqual([100, 100, 'demand']);
  await target.endAll();
});

test('bytes under way are bounded, but a frame larger than that still comes', async () => {
  const queue = queueOf(100);
  const target = new Target(10 << 20);
  for (let chunk = 0; chunk < 20; chunk += 2) queue.want(target, chunk, 'demand');
  await settle();
  expect(target.asked).toHaveLength(3);
  await target.endAll();
  const huge = new Target(100 << 20);
  queue.want(huge, 0, 'demand');
  for (let i = 0; i < 10 && huge.asked.length === 0; i++) await target.endAll();
  expect(huge.asked).toHaveLength(1);
  await huge.endAll();
});

test('a layer that goes is forgotten', async () => {
  const queue = queueOf(1);
  const [gone, stays] = [new Target(), new Target()];
  queue.want(stays, 0, 'demand');
  queue.want(gone, 0, 'demand');
  queue.forget(gone);
  await settle();
  await stays.endAll();
  expect(gone.asked).toEqual([]);
  expect(queue.has(gone, 0)).toBe(false);
});

test('without a rate there is no background', async () => {
  const queue = new FetchQueue({ requests: 4, backgroundRate: 0 });
  const target = new Target();
  queue.want(target, 0, 'background');
  await settle();
  expect(target.asked).toEqual([]);
  queue.want(target, 0, 'demand');
  await settle();
  expect(target.asked).toEqual([[0, 0, 'demand']]);
  await target.endAll();
});

test('a chunk whose fate is known can be asked for again while its request goes on', async () => {
  const queue = queueOf(4);
  const asked: [number, number][] = [];
  let isOver: () => void = () => undefined;
  const target: FetchTarget = {
    rangeOf: (chunk) => ({ offset: chunk * 1000, size: 1000 }),
    async fetch(first, last, _urgency, settled) {
      asked.push([first, last]);
      settled(first);
      await new Promise<void>((resolve) => (isOver = resolve));
    },
  };
  for (const chunk of [0, 1, 2]) queue.want(target, chunk, 'demand');
  await settle();
  queue.want(target, 0, 'demand');
  queue.want(target, 1, 'demand');
  await settle();
  expect(asked).toEqual([
    [0, 2],
    [0, 0],
  ]);
  isOver();
});

test('only what is as urgent comes before the chunk that a reader waits for', async () => {
  const queue = queueOf(4);
  const target = new Target();
  for (const chunk of [1, 2, 3, 6]) queue.want(target, chunk, 'ahead');
  for (const chunk of [4, 5]) queue.want(target, chunk, 'demand');
  await settle();
  expect(target.asked).toEqual([
    [4, 6, 'demand'],
    [1, 3, 'ahead'],
  ]);
  await target.endAll();
});

test('a run is one request, however much it is, beside which others find room', async () => {
  const queue = queueOf(4);
  const [run, other] = [new Target(1 << 20), new Target(1 << 20)];
  for (let chunk = 0; chunk < 40; chunk++) queue.want(run, chunk, 'prefetch', 40);
  for (let chunk = 0; chunk < 2; chunk++) queue.want(run, chunk, 'demand');
  for (let chunk = 0; chunk < 8; chunk++) queue.want(other, chunk, 'prefetch');
  await settle();
  expect(run.asked).toEqual([[0, 39, 'demand']]);
  expect(other.asked).toEqual([
    [0, 3, 'prefetch'],
    [4, 7, 'prefetch'],
  ]);
  queue.want(run, 39, 'demand');
  await settle();
  expect(run.asked).toHaveLength(1);
  await run.endAll();
  await other.endAll();
});

test('a reader that waits for the middle of a run takes the rest of it along', async () => {
  const queue = queueOf(4);
  const target = new Target(1 << 20);
  for (let chunk = 0; chunk < 20; chunk++) queue.want(target, chunk, 'prefetch', 20);
  queue.want(target, 12, 'demand');
  await settle();
  expect(target.asked).toEqual([
    [12, 19, 'demand'],
    [0, 11, 'prefetch'],
  ]);
  await target.endAll();
});

test('what nobody waits for leaves bytes for a reader, not only requests', async () => {
  const queue = queueOf(24);
  const target = new Target(4 << 20);
  for (let chunk = 0; chunk < 40; chunk += 2) queue.want(target, chunk, 'ahead');
  await settle();
  expect(target.asked).toHaveLength(4);
  for (let chunk = 101; chunk < 109; chunk += 2) queue.want(target, chunk, 'demand');
  await settle();
  expect(target.asked.slice(4).map(([first]) => first)).toEqual([101, 103, 105, 107]);
  await target.endAll();
});

test('the cost of a request does not grow with what else is wanted', async () => {
  const cost = async (count: number): Promise<number> => {
    const queue = queueOf(100);
    const done: number[] = [];
    const target: FetchTarget = {
      rangeOf: (chunk) => ({ offset: chunk * 1000, size: 900 }), // no neighbours
      fetch: (chunk) => Promise.resolve(void done.push(chunk)),
    };
    const start = process.cpuUsage();
    for (let chunk = 0; chunk < count; chunk++) queue.want(target, chunk, 'prefetch');
    while (done.length < count) await turn();
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  await cost(2000);
  expect(await cost(40_000)).toBeLessThan(60 * (await cost(2000)));
});
