import type { CompressedContext, CompressedInode, CompressedReader } from './context';
import { decompress } from './decompress';
import { EncodedRuns } from './encoded-runs';
import type { Encoded, Extent, ExtentMap } from './extent';
import { ExtentCache } from './extent-cache';
import { openMap } from './extent-map';
import { corrupt, maxEncoded } from './limits';

const cacheCapacity = 4 << 20;
/** What is fetched and decoded side by side: extents, and bytes of them, both as stored and decoded (and one extent more). */
const maxBatch = { extents: 64, bytes: 4 << 20 };
/** What an extent costs at least, in stored bytes, and what a read may cost beside one large cluster for each block. */
const extentCost = 1 << 16;
const spareCost = 32 * maxEncoded;

/** A reader of one compressed file. Nothing is read until the first read(). */
export function createCompressedReader(context: CompressedContext, inode: CompressedInode): CompressedReader {
  return new ExtentReader(context, inode);
}

class ExtentReader implements CompressedReader {
  #map: Promise<ExtentMap> | undefined;
  /** The extent of the last read: the next one often begins in it. */
  #last: Extent | undefined;
  readonly #cache = new ExtentCache(cacheCapacity);

  constructor(
    private readonly context: CompressedContext,
    private readonly inode: CompressedInode,
  ) {}

  async read(offset: number, length: number): Promise<Buffer> {
    const out = Buffer.alloc(length);
    // Hostile maps point to large clusters again and again for a few bytes each: honest ones stay far below this.
    const budget = { left: spareCost + Math.ceil(length / this.context.blockSize) * maxEncoded };
    for (let done = 0; done < length;) {
      const batch = await this.#plan(offset + done, offset + length, budget);
      const runs = new EncodedRuns(this.context);
      for (const { start, source } of batch) {
        if (source.kind === 'encoded' && !this.#cache.has(start)) runs.announce(source);
      }
      await Promise.all(batch.map((extent) => this.#copy(extent, offset, out, runs)));
      done = batch.at(-1)!.end - offset;
    }
    return out;
  }

  /** The next few extents of [position, end). */
  async #plan(position: number, end: number, budget: { left: number }): Promise<Extent[]> {
    const batch: Extent[] = [];
    let stored = 0;
    for (let at = position; at < end; at = batch.at(-1)!.end) {
      if (batch.length >= maxBatch.extents || at - position >= maxBatch.bytes || stored >= maxBatch.bytes)
        break;
      const extent = await this.#extentAt(at);
      batch.push(extent);
      if (extent.source.kind !== 'encoded') continue;
      stored += extent.source.length;
      budget.left -= Math.max(extentCost, extent.source.length);
      if (budget.left < 0)
        throw corrupt(this.context, this.inode, 'its extents store far more bytes than they hold');
    }
    return batch;
  }

  async #extentAt(position: number): Promise<Extent> {
    const last = this.#last;
    if (last !== undefined && last.start <= position && position < last.end) return last;
    const map = await this.#openMap();
    const extent = await map.extentAt(position);
    this.#last = extent;
    return extent;
  }

  #openMap(): Promise<ExtentMap> {
    this.#map ??= openMap(this.context, this.inode);
    this.#map.catch(() => (this.#map = undefined)); // the next read tries again
    return this.#map;
  }

  /** Fills what an extent holds of `out`, which begins at byte `offset` of the file. */
  async #copy({ start, end, source }: Extent, offset: number, out: Buffer, runs: EncodedRuns): Promise<void> {
    if (source.kind === 'hole') return; // `out` is all zeros
    const from = Math.max(0, offset - start);
    const target = out.subarray(Math.max(0, start - offset), end - offset);
    if (source.kind === 'fragment') {
      (await this.context.readFragment(source.offset + from, target.length)).copy(target);
      return;
    }
    const decode = (): Promise<Buffer> => this.#decode(source, start, end, runs);
    const bytes = await this.#cache.get(start, end - start, decode);
    // What is kept may be an extent of another length, if one is asked for by different places of a hostile map.
    if (bytes.length !== end - start) {
      throw corrupt(this.context, this.inode, `its extent at byte ${start} has more than one end`);
    }
    bytes.copy(target, 0, from);
  }

  async #decode(source: Encoded, start: number, end: number, runs: EncodedRuns): Promise<Buffer> {
    const input = await runs.read(source);
    const name = `${this.context.name}: compressed inode ${this.inode.nid}: extent at byte ${start}`;
    return decompress(this.context, { input, source, size: end - start, start, name });
  }
}
