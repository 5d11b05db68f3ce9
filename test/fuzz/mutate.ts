import type { Random } from './random';

/** Bytes from `start` to before `end`. */
export interface Range {
  start: number;
  end: number;
}

/** Numbers at which arithmetic goes wrong. */
const poison = [
  ...[0n, 1n, 2n, 0x7fn, 0xffn, 0xffffn, 0x1000n, 0x10000n],
  ...[0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n],
  ...[2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

/**
 * A copy of `bytes` with a few changes, mostly within `hot`: flipped bits, poison words, fields copied elsewhere; one in ten is cut short.
 */
export function mutate(random: Random, bytes: Buffer, hot: readonly Range[]): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return copy;
  const changes = [flipBits, writePoison, splice, writeAny];
  for (let count = 1 + random.below(6); count > 0; count--) random.pick(changes)(random, copy, hot);
  return random.chance(0.1) ? copy.subarray(0, random.below(copy.length)) : copy;
}

/** Where to change something. */
function place(random: Random, bytes: Buffer, hot: readonly Range[]): number {
  if (hot.length === 0 || random.chance(0.15)) return random.below(bytes.length);
  const { start, end } = random.pick(hot);
  return Math.min(start + random.below(end - start), bytes.length - 1);
}

function flipBits(random: Random, bytes: Buffer, hot: readonly Range[]): void {
  for (let count = 1 + random.below(4); count > 0; count--) {
    bytes[place(random, bytes, hot)]! ^= 1 << random.below(8);
  }
}

function writeAny(random: Random, bytes: Buffer, hot: readonly Range[]): void {
  bytes[place(random, bytes, hot)] = random.below(256);
}

function writePoison(random: Random, bytes: Buffer, hot: readonly Range[]): void {
  const width = random.pick([2, 4, 8]);
  const at = Math.floor(place(random, bytes, hot) / width) * width;
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(random.pick(poison));
  word.copy(bytes, at, 0, width);
}

/** Copies a field, an inode, or a block over another. */
function splice(random: Random, bytes: Buffer, hot: readonly Range[]): void {
  const length = random.pick([2, 4, 8, 12, 32, 64, 512, 4096]);
  const step = Math.min(length, 32);
  const [from, to] = [place(random, bytes, hot), place(random, bytes, hot)].map(
    (at) => Math.floor(at / step) * step,
  ) as [number, number];
  bytes.copy(bytes, to, from, from + length);
}

/** The same bytes in ranges that rise and don't touch. */
export function mergeRanges(ranges: readonly Range[], size: number): Range[] {
  const merged: Range[] = [];
  const sorted = ranges.map(({ start, end }) => ({ start: Math.max(0, start), end: Math.min(end, size) }));
  for (const range of sorted.sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else if (range.start < range.end) merged.push(range);
  }
  return merged;
}
