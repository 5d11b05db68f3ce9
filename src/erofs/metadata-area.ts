import { checkRange } from '../source/range';
import { LruMap, type LruSpace } from './lru-map';

const windowSize = 64 << 10; // bytes

/**
 * Bytes that hold inodes, xattrs, directories and maps: the image itself, or the data of the metabox inode. Read in windows of
 * 64 KiB, of which the latest stay in memory, so that most of what a walk needs is there without waiting.
 */
export class MetadataArea {
  private readonly windows: LruMap<number, Buffer>;
  private readonly loading = new Map<number, Promise<Buffer>>();
  /** The window used last, so that a run of small reads costs no look-up. */
  private latest: { index: number; bytes: Buffer } = { index: -1, bytes: Buffer.alloc(0) };

  constructor(
    readonly name: string,
    /** Length in bytes. */
    readonly size: number,
    private readonly load: (offset: number, length: number) => Promise<Buffer>,
    /** Where windows are kept. */
    space: LruSpace,
  ) {
    this.windows = new LruMap(space);
  }

  /** Bytes that are in memory, else undefined. CORRUPT outside of the area. Not to be written to. */
  peek(offset: number, length: number): Buffer | undefined {
    checkRange(this, offset, length);
    const index = Math.floor(offset / windowSize);
    const start = offset - index * windowSize;
    if (start + length > windowSize) return undefined;
    return this.cached(index)?.subarray(start, start + length);
  }

  /** Bytes of the area. CORRUPT outside of it. Not to be written to. */
  async read(offset: number, length: number): Promise<Buffer> {
    const ready = this.peek(offset, length);
    if (ready !== undefined) return ready;
    const first = Math.floor(offset / windowSize);
    if (offset + length <= (first + 1) * windowSize) {
      const start = offset - first * windowSize;
      return (await this.window(first)).subarray(start, start + length);
    }
    return this.gather(offset, length);
  }

  private async gather(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const index = Math.floor((offset + done) / windowSize);
      const window = await this.window(index);
      done += window.copy(bytes, done, offset + done - index * windowSize);
    }
    return bytes;
  }

  private async window(index: number): Promise<Buffer> {
    const ready = this.cached(index);
    if (ready !== undefined) return ready;
    let loading = this.loading.get(index);
    if (loading === undefined) {
      loading = this.loadWindow(index);
      this.loading.set(index, loading);
    }
    return loading;
  }

  private async loadWindow(index: number): Promise<Buffer> {
    try {
      const start = index * windowSize;
      const bytes = await this.load(start, Math.min(windowSize, this.size - start));
      this.windows.set(index, bytes, bytes.length);
      return bytes;
    } finally {
      this.loading.delete(index);
    }
  }

  private cached(index: number): Buffer | undefined {
    if (index === this.latest.index) return this.latest.bytes;
    const bytes = this.windows.get(index);
    if (bytes !== undefined) this.latest = { index, bytes };
    return bytes;
  }
}
