import { expect, it } from 'vitest';
import { checkChunkSizes } from '../../src/layer/frame-section';

function table(stored: number, size: number, compression: 'none' | 'zstd' = 'zstd') {
  const offsets = Float64Array.of(0, 100, 100 + stored);
  return { compression, offsets, starts: Float64Array.of(0, 4096, 4096 + size) };
}

const check = (...parameters: Parameters<typeof table>): void => {
  checkChunkSizes({ ...table(...parameters), checksums: Buffer.alloc(0), checksumSize: 0 }, 'table');
};

it('a chunk is at most what the blocks of its frame can hold', () => {
  expect(() => {
    check(40, 10 * 128 * 1024);
  }).not.toThrow();
  expect(() => {
    check(40, 2 ** 46, 'none');
  }).not.toThrow();
  for (const size of [10 * 128 * 1024 + 1, 2 ** 46]) {
    expect(() => {
      check(40, size);
    }).toThrow(
      expect.objectContaining({ code: 'CORRUPT', why: expect.stringContaining('frame 1 ') as string }),
    );
  }
});
