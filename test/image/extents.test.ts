import { describe, expect, it } from 'vitest';
import { Extents } from '../../src/image/extents';

describe('extents', () => {
  it.each<[string, [number, number][], number]>([
    ['none', [], 0],
    [
      'one behind the other',
      [
        [0, 10],
        [10, 20],
      ],
      20,
    ],
    [
      'with a gap, out of order',
      [
        [30, 40],
        [0, 10],
      ],
      20,
    ],
    [
      'the same twice, once longer',
      [
        [0, 10],
        [50, 60],
        [0, 20],
      ],
      30,
    ],
    [
      'one in the other',
      [
        [0, 100],
        [20, 30],
        [10, 15],
      ],
      100,
    ],
    [
      'overlapping',
      [
        [20, 60],
        [0, 30],
        [50, 70],
      ],
      70,
    ],
  ])('cover what some piece covers: %s', (_, pieces, length) => {
    const extents = new Extents();
    for (const [start, end] of pieces) extents.add(start, end);
    expect(extents.length()).toBe(length);
  });

  it('grow, whatever their number', () => {
    const extents = new Extents();
    for (let i = 5000; i > 0; i--) extents.add(3 * i, 3 * i + 1);
    expect(extents.length()).toBe(5000);
  });
});
