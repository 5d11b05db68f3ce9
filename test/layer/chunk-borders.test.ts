import { describe, expect, test } from 'vitest';
import { chunkBorders } from '../../src/layer/chunk-borders';

const chunkSize = 1 << 19;
const block = 4096;

/** Files behind each other, each from a block on, behind two blocks of metadata. */
function layOut(lengths: readonly number[]) {
  const pieces: number[] = [];
  let at = 2 * block;
  for (const length of lengths) {
    pieces.push(at, length);
    at += Math.ceil(length / block) * block;
  }
  return { pieces: Float64Array.from(pieces), imageSize: at };
}

function cut(lengths: readonly number[], more: { tree?: number } = {}) {
  const { pieces, imageSize } = layOut(lengths);
  const dataSize = imageSize + (more.tree ?? 0);
  return { pieces, imageSize, starts: chunkBorders(pieces, { imageSize, dataSize, chunkSize }) };
}

/** For each chunk of file data: the lengths of the files that begin in it. */
function groups(lengths: readonly number[]): string[] {
  const { pieces, starts } = cut(lengths);
  const found: string[] = [];
  for (let chunk = 0; chunk + 1 < starts.length; chunk++) {
    const held: number[] = [];
    for (let i = 0; i < pieces.length; i += 2)
      if (pieces[i]! >= starts[chunk]! && pieces[i]! < starts[chunk + 1]!) held.push(pieces[i + 1]!);
    if (held.length > 0) found.push(held.join(' '));
  }
  return found;
}

/** Lengths from 1 to `most`, the same each time. */
function lengthsOf(count: number, most: number): number[] {
  let state = 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 1;
    return 1 + (state % most);
  });
}

describe('chunks that begin where files do', () => {
  test('reach from 0 to the end, and none is longer than asked for', () => {
    const lengths = [...lengthsOf(3000, 30_000), 3_000_000, 4096, 1, 600_000];
    const { starts, imageSize } = cut(lengths, { tree: 1_200_000 });
    expect(starts[0]).toBe(0);
    expect(starts.at(-1)).toBe(imageSize + 1_200_000);
    expect(starts.includes(imageSize)).toBe(true);
    const sizes = [...starts].slice(1).map((end, i) => end - starts[i]!);
    expect(sizes.every((size) => size > 0 && size <= chunkSize)).toBe(true);
    expect(sizes.length).toBeLessThan((starts.at(-1)! / chunkSize) * 4);
  });

  test('are of one file alone where it is large, from its beginning to its end', () => {
    const { pieces, starts } = cut([100, 1_500_000, 100]);
    const [at, next] = [pieces[2]!, pieces[4]!];
    const own = [...starts].filter((start) => start >= at && start <= next);
    expect(own).toEqual([at, at + chunkSize, at + 2 * chunkSize, next]);
  });

  test('are nearly all the same after a small file in the midst became longer, came or went', () => {
    const lengths = lengthsOf(4000, 40_000);
    const before = groups(lengths);
    for (const after of [
      lengths.with(1000, 33_333),
      lengths.toSpliced(1000, 1),
      lengths.toSpliced(1000, 0, 12_345, 54_321),
    ]) {
      const kept = new Set(before);
      const others = groups(after).filter((group) => !kept.has(group));
      expect(others.length).toBeLessThanOrEqual(8);
      expect(before.length).toBeGreaterThan(100);
    }
  });

  test('of an image without files are equal ones', () => {
    const options = { imageSize: chunkSize + block, dataSize: chunkSize + block, chunkSize };
    expect([...chunkBorders(new Float64Array(), options)]).toEqual([0, chunkSize, chunkSize + block]);
    expect([...chunkBorders(new Float64Array(), { imageSize: 0, dataSize: 0, chunkSize })]).toEqual([0]);
  });
});
