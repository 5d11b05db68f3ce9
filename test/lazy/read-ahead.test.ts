import { expect, test } from 'vitest';
import { ReadAhead } from '../../src/lazy/read-ahead';

const kib = 1024;
const starts = (count: number, size: number): Float64Array =>
  Float64Array.from({ length: count + 1 }, (_, i) => i * size);
const bytesOf = ({ from, to }: { from: number; to: number }, size: number): number => (to - from) * size;

test('windows grow while a reader goes on, and are bounded', () => {
  const ahead = new ReadAhead(starts(4096, 64 * kib));
  const windows: number[] = [];
  let asked = 0;
  for (let chunk = 0; chunk < 200; chunk++) {
    const range = ahead.onRead(chunk, chunk);
    expect(range.from).toBeGreaterThanOrEqual(asked);
    asked = Math.max(asked, range.to);
    windows.push(asked - chunk - 1);
  }
  expect(windows[0]).toBe(16);
  expect(windows[1]).toBe(32);
  expect(Math.max(...windows)).toBe(256);
});

test('what was read ahead is not asked for again', () => {
  const ahead = new ReadAhead(starts(100, 256 * kib));
  const first = ahead.onRead(0, 0);
  const second = ahead.onRead(1, 1);
  expect(first).toEqual({ from: 1, to: 5 });
  expect(second).toEqual({ from: 5, to: 10 });
});

test('several readers are told apart', () => {
  const ahead = new ReadAhead(starts(1000, 256 * kib));
  ahead.onRead(0, 0);
  ahead.onRead(500, 500);
  expect(bytesOf(ahead.onRead(1, 1), 256 * kib)).toBeGreaterThan(0);
  expect(ahead.onRead(501, 501).to).toBeGreaterThan(503);
});

test('jumps whose neighbours nobody wants are not read ahead of', () => {
  const ahead = new ReadAhead(starts(100_000, 64 * kib));
  const ranges = Array.from({ length: 30 }, (_, i) => ahead.onRead(i * 1000, i * 1000));
  expect(bytesOf(ranges[0]!, 64)).toBeGreaterThan(0);
  expect(ranges.slice(20).every(({ from, to }) => from >= to)).toBe(true);
});

test('the end of the layer is the end', () => {
  const ahead = new ReadAhead(starts(3, 4 << 20));
  expect(ahead.onRead(2, 2)).toEqual({ from: 3, to: 3 });
});
