// Numbers of several runs, put in few.

/** `number` with so many digits after the point. */
export const round = (number, digits) => Number(number.toFixed(digits));

/** Minimum, median, maximum; null when there are none, or one wasn't measured. */
export function spread(numbers, digits = 3) {
  if (numbers.length === 0 || numbers.some((number) => number === null || number === undefined)) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {
    min: round(sorted[0], digits),
    median: round(median, digits),
    max: round(sorted.at(-1), digits),
  };
}

/** The smallest of `numbers` that at least `part` (0 to 1) of them don't exceed. */
export function percentile(numbers, part) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}

/**
 * How many times as long `other` took as `ours`: by the medians, and min/median/max of the rounds that have both (they ran one after the
 * other, under the same load).
 */
export function speedup(ours, other) {
  const pairs = other.flatMap((seconds, i) =>
    seconds === undefined || ours[i] === undefined ? [] : [seconds / ours[i]],
  );
  const [a, b] = [spread(present(ours), 9), spread(present(other), 9)];
  return a === null || b === null ? null : { ofMedians: round(b.median / a.median, 2), ...spread(pairs, 2) };
}

const present = (numbers) => numbers.filter((number) => number !== undefined);
