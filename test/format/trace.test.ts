import { describe, expect, test } from 'vitest';
import { mergeRanges, mergeTraces, parseTrace, serializeTrace, type Trace } from '../../src/format/trace';
import { caught } from '../support/caught';

const layer = `sha256:${'a'.repeat(64)}`;
const trace: Trace = {
  schema: 1,
  image: `docker://host/app:1@sha256:${'b'.repeat(64)}`,
  platform: 'linux/amd64',
  reads: [
    {
      path: '/usr/bin/app',
      layer,
      ranges: [
        [0, 4096],
        [8192, 100],
      ],
      firstMs: 3,
    },
    { path: '/etc/na\\xefve', layer, ranges: [], firstMs: 4.5 },
  ],
};
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const withRead = (change: object) => bytesOf({ ...trace, reads: [{ ...trace.reads[0], ...change }] });

describe('a trace', () => {
  test('is read as it was written, a line for each file', () => {
    const bytes = serializeTrace(trace);
    expect(parseTrace(bytes, 'trace')).toEqual(trace);
    expect(bytes.toString().split('\n')).toHaveLength(5);
  });

  test('without any read is one, too', () => {
    const empty = { ...trace, reads: [] };
    expect(parseTrace(serializeTrace(empty), 'trace')).toEqual(empty);
  });

  test('of a later schema is refused', async () => {
    const error = await caught(() => parseTrace(bytesOf({ ...trace, schema: 2 }), 'FILE'));
    expect(error).toMatchObject({
      code: 'UNSUPPORTED',
      what: 'FILE',
      why: expect.stringContaining('2') as string,
    });
  });

  test.each<[string, Buffer]>([
    ['no JSON', Buffer.from('{')],
    ['a list', bytesOf([])],
    ['another document', bytesOf({ reads: [] })],
    ['no image', bytesOf({ ...trace, image: 1 })],
    ['reads that are no list', bytesOf({ ...trace, reads: {} })],
    ['a read that is null', bytesOf({ ...trace, reads: [null] })],
    ['a path twice', bytesOf({ ...trace, reads: [trace.reads[0], trace.reads[0]] })],
    ['a relative path', withRead({ path: 'usr' })],
    ['a path that is not escaped', withRead({ path: '/\u00e9' })],
    ['a path with a bad escape', withRead({ path: '/\\q' })],
    ['a layer that is no digest', withRead({ layer: 'x' })],
    ['a time before the start', withRead({ firstMs: -1 })],
    ['ranges that are no list', withRead({ ranges: 1 })],
    ['a range of three', withRead({ ranges: [[1, 2, 3]] })],
    ['a range without length', withRead({ ranges: [[1, 0]] })],
    ['a negative offset', withRead({ ranges: [[-1, 4]] })],
    ['half a byte', withRead({ ranges: [[0.5, 4]] })],
    [
      'ranges that overlap',
      withRead({
        ranges: [
          [0, 10],
          [5, 10],
        ],
      }),
    ],
    ['a range beyond 2^53', withRead({ ranges: [[2 ** 53 - 1, 1]] })],
  ])('with %s is refused', async (_, bytes) => {
    expect(await caught(() => parseTrace(bytes, 'FILE'))).toMatchObject({ code: 'CORRUPT' });
  });
});

describe('traces of several runs', () => {
  const read = (path: string, firstMs: number, ...ranges: [number, number][]) => ({
    path,
    layer,
    ranges,
    firstMs,
  });

  test('become one: the earliest use counts, and all that was read', () => {
    const one = { ...trace, reads: [read('/a', 1, [0, 10]), read('/b', 20, [0, 5])] };
    const two = { ...trace, image: 'other', reads: [read('/c', 5, [0, 1]), read('/a', 7, [8, 4], [100, 1])] };
    const merged = mergeTraces([one, two]);
    expect(merged.image).toBe(trace.image);
    expect(merged.reads).toEqual([
      read('/a', 1, [0, 12], [100, 1]),
      read('/c', 5, [0, 1]),
      read('/b', 20, [0, 5]),
    ]);
  });

  test('of several platforms are refused, and so is none at all', async () => {
    const arm = { ...trace, platform: 'linux/arm64' };
    expect(await caught(() => mergeTraces([trace, arm]))).toMatchObject({ code: 'USAGE' });
    expect(await caught(() => mergeTraces([]))).toMatchObject({ code: 'USAGE' });
  });

  test('ranges in any order are joined where they touch', () => {
    const ranges: [number, number][] = [
      [10, 5],
      [0, 3],
      [3, 2],
      [12, 1],
    ];
    expect(mergeRanges(ranges)).toEqual([
      [0, 5],
      [10, 5],
    ]);
  });
});
