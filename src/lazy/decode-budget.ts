import { Semaphore } from 'async-mutex';

/** Bytes of the unit that is counted in: a semaphore of single bytes would be slow. */
const unit = 64 << 10;

/** Bounds the decoded bytes that are in memory at once, over all layers; a chunk of more than all of them goes alone. */
export class DecodeBudget {
  private readonly free: Semaphore;
  private readonly units: number;

  /** @param bytes decoded bytes at once */
  constructor(bytes: number) {
    this.units = Math.ceil(bytes / unit);
    this.free = new Semaphore(this.units);
  }

  /** Runs `work`, which decodes `size` bytes and lets go of them before it ends, when there is room. Callers take turns. */
  run<T>(size: number, work: () => Promise<T>): Promise<T> {
    return this.free.runExclusive(work, Math.min(Math.max(Math.ceil(size / unit), 1), this.units));
  }
}
