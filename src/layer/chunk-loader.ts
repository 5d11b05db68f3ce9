import { failure } from '../errors';
import { native, type FrameTable, type NativeSource } from '../native/binding';
import type { ByteSource } from '../source/byte-source';
import type { FrameCache } from '../source/cached';
import { isFileSource } from '../source/file';
import type { LruSpace } from '../erofs/lru-map';
import { ChunkCache } from './chunk-cache';
import { checksumOf, decodeFrame, readFrame } from './decoded-range';
import { FrameReader } from './frame-reader';
import { SharedWork } from './shared-work';

/** The decoded chunks of a blob: each is fetched, verified and decoded once for all who want it at the same time, and kept while there is room. */
export class ChunkLoader {
  private readonly reader: FrameReader;
  private readonly chunks: ChunkCache;
  private readonly underWay = new Map<number, SharedWork<Buffer>>();
  /** The blob for native code, where that can read it: a file that needs no other cache than the kernel's. */
  private readonly file: NativeSource | null;
  private isClosed = false;

  constructor(
    private readonly blob: ByteSource,
    private readonly frames: FrameTable,
    cacheSpace: number | LruSpace,
    private readonly cache: FrameCache | null,
  ) {
    this.reader = new FrameReader(blob, frames, cache);
    this.chunks = new ChunkCache(cacheSpace);
    this.file = cache === null && isFileSource(blob) ? new native.Source(blob) : null;
  }

  /** The chunk of this index, shared with others: not to be written to. CANCELLED for this caller alone when `signal` is aborted. */
  async load(index: number, signal?: AbortSignal): Promise<Buffer> {
    if (this.isClosed) throw failure('USAGE', this.blob.name, 'it is closed already');
    return this.chunks.get(index) ?? (await this.join(index).wait(this.blob.name, signal));
  }

  /** Ends what is under way, with CANCELLED for those who wait for it. */
  async close(): Promise<void> {
    this.isClosed = true;
    const works = [...this.underWay.values()];
    for (const work of works) work.cancel();
    await Promise.allSettled(works.map(({ result }) => result));
    this.chunks.clear();
    this.file?.close();
  }

  private join(index: number): SharedWork<Buffer> {
    const current = this.underWay.get(index);
    if (current?.isAbandoned === false) return current;
    const work = new SharedWork((signal) => this.produce(index, signal));
    this.underWay.set(index, work);
    const forget = (): void => {
      if (this.underWay.get(index) === work) this.underWay.delete(index);
    };
    work.result.then(forget, forget);
    return work;
  }

  private async produce(index: number, signal: AbortSignal): Promise<Buffer> {
    const chunk =
      this.file === null
        ? await this.fetch(index, signal)
        : await readFrame(this.file, this.frames, index, this.blob.name);
    this.chunks.put(index, chunk);
    return chunk;
  }

  private async fetch(index: number, signal: AbortSignal): Promise<Buffer> {
    const { bytes, isCached } = await this.reader.fetch(index, signal);
    // What is kept must be what was verified, whatever the source does to its memory meanwhile.
    const kept = this.cache === null || isCached ? null : Buffer.from(bytes);
    const chunk = await decodeFrame(kept ?? bytes, this.frames, index, this.blob.name);
    if (kept !== null) await this.cache!.put(checksumOf(this.frames, index), kept);
    return chunk;
  }
}
