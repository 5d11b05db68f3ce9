import type { ByteSource } from '../source/byte-source';

const longWindow = 64 * 1024;
const shortWindow = 4 * 1024;

/**
 * The part of a source around where a walk is. A walk that stays close by (small blocks) gets long windows, so that there are few reads;
 * one that leaps gets short ones, so that little is read in vain.
 */
export class ReadWindow {
  /** What was loaded last. */
  bytes: Buffer = Buffer.alloc(0);
  private start = 0;

  /** Nothing at or beyond `limit`, an offset in `source`, is read. */
  constructor(
    readonly source: ByteSource,
    readonly limit: number,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Where in `bytes` the byte at `offset` is; null unless that and the next ones, `length` in all, are there. */
  indexOf(offset: number, length: number): number | null {
    const index = offset - this.start;
    return index >= 0 && index + length <= this.bytes.length ? index : null;
  }

  /** Loads bytes from `offset` on: at least `length`, or all that are there before the limit. */
  async load(offset: number, length: number): Promise<void> {
    const near = offset >= this.start && offset - this.start < longWindow;
    const wanted = Math.max(length, near ? longWindow : shortWindow);
    const size = Math.max(0, Math.min(wanted, this.limit - offset));
    this.bytes = size === 0 ? Buffer.alloc(0) : await this.source.read(offset, size, this.signal);
    this.start = offset;
  }

  /** The bytes from `offset` on, `length` of them, or fewer where the limit cuts them off. They stay as they are when more is loaded. */
  async atMost(offset: number, length: number): Promise<Buffer> {
    if (this.indexOf(offset, length) === null) await this.load(offset, length);
    const index = offset - this.start;
    return this.bytes.subarray(index, index + length);
  }
}
