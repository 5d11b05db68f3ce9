import type { JobOptions, ProgressEvent } from '../../job';

/** Milliseconds: a few times a second is enough for anybody. */
const interval = 200;

/** Reports the progress of a transfer, not too often, and its end always. */
export class Ticker {
  private last = -Infinity;

  constructor(
    private readonly event: Required<Pick<ProgressEvent, 'phase' | 'item' | 'total'>>,
    private readonly onProgress: JobOptions['onProgress'],
  ) {}

  at(done: number): void {
    const now = performance.now();
    if (now - this.last < interval && done < this.event.total) return;
    this.last = now;
    this.onProgress?.({ ...this.event, done, unit: 'bytes' });
  }
}
