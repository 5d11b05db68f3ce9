/** How many of the last durations are kept. */
const kept = 1024;

/** The last durations of something, for their quantiles. In milliseconds. */
export class Latencies {
  private readonly values: number[] = [];
  private next = 0;

  add(milliseconds: number): void {
    this.values[this.next] = milliseconds;
    this.next = (this.next + 1) % kept;
  }

  /** The duration that `share` (0 to 1) of them do not exceed; null when there is none. */
  quantile(share: number): number | null {
    if (this.values.length === 0) return null;
    const sorted = this.values.slice().sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  }
}
