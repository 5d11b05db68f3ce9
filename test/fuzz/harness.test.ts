import { describe, expect, it } from 'vitest';
import { failure } from '../../src/errors';
import { attempt, measure } from './case';
import { mergeRanges, mutate } from './mutate';
import { Random } from './random';
import { supervise } from './supervise';

describe('a case', () => {
  it('may refuse its input', async () => {
    const run = () => attempt(() => Promise.reject(failure('CORRUPT', 'image', 'broken')));
    expect(await measure(run)).toMatchObject({ fault: null });
  });

  it.each([new TypeError('undefined is no function'), failure('NO_MEMORY', 'image', 'too large')])(
    'must not fail in other ways: %s',
    async (error) => {
      const { fault } = await measure(() => attempt(() => Promise.reject(error)));
      expect(fault).toContain(error.message);
    },
  );

  it('must not take long', async () => {
    const limits = { milliseconds: 50, bytes: Infinity };
    const { fault } = await measure(async () => {
      const end = performance.now() + 5000;
      const { user } = process.cpuUsage();
      while (process.cpuUsage().user - user < 100_000 && performance.now() < end);
    }, limits);
    expect(fault).toMatch(/took \d+ ms/);
  });

  it('must not take much memory', async () => {
    const { fault } = await measure(
      async () => {
        Buffer.alloc(process.resourceUsage().maxRSS * 1024, 1);
      },
      { milliseconds: Infinity, bytes: 32 << 20 },
    );
    expect(fault).toMatch(/took \d+ MiB/);
  });
});

describe('a worker', () => {
  it('that dies is a fault of its case', async () => {
    const { faults, summary } = await supervise(['-e', 'console.log("case 7"); process.abort()'], 60_000);
    expect(faults).toEqual([expect.stringMatching(/^case 7: died of SIGABRT/)]);
    expect(summary).toBeNull();
  });

  it('that hangs is a fault of its case', async () => {
    const { faults } = await supervise(['-e', 'console.log("case 8"); for (;;);'], 3000);
    expect(faults).toEqual(['case 8: no end after 3000 ms']);
  });

  it('hands on the faults it found', async () => {
    const script = `console.log('case 3'); console.log('fault 3 "text"'); console.log('done {"cases":1}')`;
    const { faults, summary } = await supervise(['-e', script], 60_000);
    expect(faults).toEqual(['case 3: text']);
    expect(summary).toEqual({ cases: 1 });
  });
});

describe('mutations', () => {
  const bytes = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));
  const all = [{ start: 1000, end: 1100 }];

  it('are the same for the same seed and case', () => {
    for (let index = 0; index < 50; index++) {
      const [one, two] = [0, 0].map(() => mutate(new Random(1, index), bytes, all));
      expect(one!.equals(two!)).toBe(true);
    }
    const differing = new Set(
      Array.from({ length: 50 }, (_, index) => mutate(new Random(1, index), bytes, all).toString('hex')),
    );
    expect(differing.size).toBeGreaterThan(45);
    expect(mutate(new Random(1, 0), bytes, all)).not.toEqual(mutate(new Random(2, 0), bytes, all));
  });

  it('leave the original alone, and prefer what is hot', () => {
    const original = Buffer.from(bytes);
    let [inside, outside] = [0, 0];
    for (let index = 0; index < 500; index++) {
      const mutated = mutate(new Random(3, index), bytes, all);
      mutated.forEach((byte, at) => {
        if (byte === original[at]) return;
        if (at >= 992 && at < 1164) inside++;
        else outside++;
      });
    }
    expect(bytes.equals(original)).toBe(true);
    expect(inside).toBeGreaterThan(0);
    expect(outside).toBeGreaterThan(0);
  });

  it('cut some inputs short', () => {
    const lengths = Array.from(
      { length: 200 },
      (_, index) => mutate(new Random(4, index), bytes, all).length,
    );
    expect(lengths.filter((length) => length < bytes.length).length).toBeGreaterThan(5);
    expect(mutate(new Random(4, 0), Buffer.alloc(0), [])).toHaveLength(0);
  });

  it('merge ranges', () => {
    const ranges = [
      { start: 5, end: 9 },
      { start: -3, end: 2 },
      { start: 8, end: 20 },
      { start: 30, end: 40 },
    ];
    expect(mergeRanges(ranges, 15)).toEqual([
      { start: 0, end: 2 },
      { start: 5, end: 15 },
    ]);
  });
});
