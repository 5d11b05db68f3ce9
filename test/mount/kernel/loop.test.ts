import { expect, test } from 'vitest';
import { loopConfig, loopInfo } from '../../../src/mount/kernel/loop';

test('struct loop_config of linux/loop.h: read-only, autoclear, direct I/O', () => {
  const config = loopConfig(42, '/images/layer');
  expect(config.length).toBe(304);
  expect([0, 4].map((at) => config.readUInt32LE(at))).toEqual([42, 0]);
  expect(config.readUInt32LE(8 + 52)).toBe(1 | 4 | 16);
  expect(config.toString('latin1', 8 + 56, 8 + 56 + 14)).toBe('/images/layer\0');
  expect(config.subarray(8, 240)).toEqual(loopInfo('/images/layer'));
});

test('a long name is cut, and ends with a NUL', () => {
  const info = loopInfo('x'.repeat(100));
  expect(info.length).toBe(232);
  expect(info.toString('latin1', 56, 56 + 65)).toBe(`${'x'.repeat(63)}\0\0`);
});
