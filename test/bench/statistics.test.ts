import { beforeAll, describe, expect, test } from 'vitest';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

interface Spread {
  min: number;
  median: number;
  max: number;
}
interface Statistics {
  spread: (numbers: (number | null)[], digits?: number) => Spread | null;
  percentile: (numbers: number[], part: number) => number;
  speedup: (ours: number[], other: number[]) => (Spread & { ofMedians: number }) | null;
}
interface Lane {
  parts: Record<string, number>;
  first?: string[];
}
interface Limit {
  seconds: number;
  bound: string;
  cpuSeconds: number;
  parts: Record<string, number>;
}
interface Rooflines {
  roofline: (work: { lanes: Lane[]; streams?: number[] }, cores: number) => Limit;
}
interface Bar {
  value: (results: object) => number | null;
  least?: number;
  most?: number;
}
interface Bars {
  BARS: Bar[];
  judge: (bar: Bar, results: object) => { text: string; value: number | null; holds: boolean | null };
}

const load = async (name: string): Promise<unknown> =>
  import(pathToFileURL(join(__dirname, '..', '..', 'bench', 'lib', `${name}.mjs`)).href);
let { spread, percentile, speedup } = {} as Statistics;
let { roofline } = {} as Rooflines;
let { BARS, judge } = {} as Bars;
beforeAll(async () => {
  ({ spread, percentile, speedup } = (await load('stats')) as Statistics);
  ({ roofline } = (await load('roofline')) as Rooflines);
  ({ BARS, judge } = (await load('bars')) as Bars);
});

describe('statistics of rounds', () => {
  test('the median of an even number of rounds lies between the middle two', () => {
    expect(spread([4, 1, 3, 2])).toEqual({ min: 1, median: 2.5, max: 4 });
    expect(spread([2, 9, 1])).toEqual({ min: 1, median: 2, max: 9 });
  });

  test('a spread without all of its numbers is none', () => {
    expect(spread([])).toBeNull();
    expect(spread([1, null])).toBeNull();
  });

  test('a percentile is one of the numbers', () => {
    const numbers = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([percentile(numbers, 0.5), percentile(numbers, 0.99), percentile(numbers, 1)]).toEqual([
      50, 99, 100,
    ]);
    expect(percentile([7], 0.01)).toBe(7);
  });

  test('speed-ups compare what ran in one round; a slow program need not run in all', () => {
    expect(speedup([1, 2, 4], [10, 10])).toEqual({ ofMedians: 5, min: 5, median: 7.5, max: 10 });
    expect(speedup([1], [])).toBeNull();
  });
});

describe('the raw limit', () => {
  test('parts spread over the cores', () => {
    const limit = roofline({ lanes: [{ parts: { zstd: 4, leaves: 2 } }], streams: [1] }, 2);
    expect(limit).toEqual({ seconds: 3, bound: 'cpu', cpuSeconds: 6, parts: { zstd: 4, leaves: 2 } });
  });

  test('what comes first in a layer is not spread', () => {
    const { seconds, bound } = roofline(
      { lanes: [{ parts: { inflate: 2, zstd: 4 }, first: ['inflate'] }] },
      2,
    );
    expect([seconds, bound]).toEqual([4, 'path']);
  });

  test('other layers fill the cores meanwhile', () => {
    const lane = { parts: { inflate: 2, zstd: 4 }, first: ['inflate'] };
    const { seconds, bound, parts } = roofline({ lanes: [lane, lane, lane] }, 2);
    expect([seconds, bound, parts]).toEqual([9, 'cpu', { inflate: 6, zstd: 12 }]);
  });

  test('no number of cores makes one stream faster', () => {
    const { seconds, bound } = roofline({ lanes: [{ parts: { zstd: 4, sha256: 1 } }], streams: [1] }, 64);
    expect([seconds, bound]).toEqual([1, 'stream']);
  });
});

describe('bars', () => {
  test.each([
    [{ least: 4 }, 4, true],
    [{ least: 4 }, 3.99, false],
    [{ most: 6 }, 6.1, false],
    [{ least: 0.9, most: 1.1 }, 1, true],
    [{ least: 0.9, most: 1.1 }, 1.2, false],
    [{ least: 1 }, null, null],
  ])('%o with %s holds: %s', (limits, value, holds) => {
    expect(judge({ ...limits, value: () => value }, {}).holds).toBe(holds);
  });

  test('none is met where nothing was measured', () => {
    expect(BARS.length).toBeGreaterThan(20);
    for (const bar of BARS) expect(judge(bar, {}).value).toBeNull();
  });
});
