import { failure } from '../errors';
import type { FuseEvent, NativeFuseServer } from '../native/fuse-server';
import type { ByteSource } from '../source/byte-source';
import { ChunkDecoder } from './chunk-decoder';
import { ChunkPlacer } from './chunk-placer';
import type { ChunkStore } from './chunk-store';
import type { DecodeBudget } from './decode-budget';
import { Demands } from './demands';
import { isNoSpace, isWrong } from './error-kinds';
import type { FetchQueue, FetchTarget, Urgency } from './fetch-queue';
import { Foreseen } from './foreseen';
import { FrameRequests } from './frame-requests';
import { Latencies } from './latencies';
import { chunkAt } from '../layer/decoded-range';
import { LargeChunks, type SpooledFrame } from './large-chunks';
import { rangeOf, type ChunkRange, type LayerChunks } from './layer-chunks';
import type { LayerSource } from './layer-sources';
import type { LazyCounts } from './messages';
import type { LazyObserver } from './observer';
import { ReadAhead } from './read-ahead';
import type { SharedChunks } from './shared-chunks';
import { SharedTakings } from './shared-takings';
import { Takings } from './takings';

const inputOutputError = 5; // EIO
/** Bytes of the layer that the background asks for at once. */
const backgroundStep = 8 << 20;
/** How often each source is asked on behalf of a mount that is under way. */
const attemptsOfMount = 2;
/** Answers of which one has to be right, also where there is one source alone: a proxy may have had a bad moment. */
const minAnswers = 2;

/** What a lazy layer works with; all but the first three belong to the server and are shared by its layers. Exported for its test. */
export interface LazyLayerParts {
  /** The file's number on the FUSE mount. */
  node: number;
  chunks: LayerChunks;
  store: ChunkStore;
  /** Where the blob can be read, the preferred one first; each names itself. */
  sources: readonly LayerSource[];
  fuse: Pick<NativeFuseServer, 'stored' | 'delivered' | 'failed'>;
  queue: FetchQueue;
  /** Bounds what is decoded at once. */
  decoding: DecodeBudget;
  /** What other stores have of the layer. */
  shared?: Pick<SharedChunks, 'has' | 'read'> | null | undefined;
  /** How long a reader waits at most, in milliseconds. */
  ioTimeout: number;
  onWarning: (line: string) => void;
  /** What the background asked for is here, or will not come. */
  onDrained?: (() => void) | undefined;
  observer?: LazyObserver | undefined;
}

/**
 * One layer that fills as it is read: takes the FUSE server's events, asks the queue for chunks, checks and decodes what comes and stores
 * it. A chunk that turns out wrong is asked for once more, from the next source where there is one, and is never stored or served; its
 * readers get EIO when all sources are wrong. Without the network readers wait, at most for `ioTimeout`.
 */
export class LazyLayer implements FetchTarget {
  private readonly readAhead: ReadAhead;
  private readonly requests: FrameRequests;
  private readonly placer: ChunkPlacer;
  private readonly foreseen = new Foreseen();
  private readonly demands: Demands;
  private readonly latencies = new Latencies();
  private readonly closing = new AbortController();
  private readonly takings: SharedTakings;
  private cursor = 0;

  constructor(private readonly parts: LazyLayerParts) {
    const { chunks, sources, store, ioTimeout } = parts;
    this.readAhead = new ReadAhead(chunks.starts);
    const large = new LargeChunks(chunks, store);
    this.requests = new FrameRequests({ ...parts, large });
    const decoder = new ChunkDecoder(sources[0]!.name, chunks, (offset, length) =>
      this.requests.source.read(offset, length, this.closing.signal),
    );
    this.placer = new ChunkPlacer({ ...parts, large, decoder }, this.closing.signal);
    this.takings = this.takingsOf(parts);
    this.demands = new Demands(ioTimeout, (chunk) => {
      this.onTimeout(chunk);
    });
  }

  get node(): number {
    return this.parts.node;
  }

  get store(): ChunkStore {
    return this.parts.store;
  }

  /** What the FUSE server tells of this layer's file. */
  onEvent({ kind, first, last }: FuseEvent): void {
    if (this.isClosed) return;
    if (kind === 'missing') this.demand(first);
    if (kind !== 'read') return;
    // What is known to be read says by itself what comes next: guessing would fetch what nobody reads.
    if (this.foreseen.onRead(first, last)) return;
    const { from, to } = this.readAhead.onRead(first, last);
    for (let chunk = from; chunk < to; chunk++) this.want(chunk, 'ahead');
  }

  /** Asks for a chunk that nobody waits for yet. `runEnd` as in FetchQueue.want(). */
  want(chunk: number, urgency: Urgency, runEnd?: number): void {
    if (this.isClosed) return;
    const isHere = this.store.has(chunk);
    if (urgency === 'prefetch') this.foreseen.add(chunk, isHere);
    if (!isHere) this.ask(chunk, urgency, runEnd);
  }

  /** The first chunks are read whatever is going to be wanted: nothing is read ahead for that. */
  foresee(count: number): void {
    for (let chunk = 0; chunk < count; chunk++) this.foreseen.add(chunk, true);
  }

  /** Asks for the next missing chunks, some MiB of them. False when all are here. */
  wantInBackground(): boolean {
    const { starts } = this.parts.chunks;
    const { store } = this;
    while (this.cursor < store.chunks && store.has(this.cursor)) this.cursor++;
    if (this.cursor === store.chunks && store.isComplete) return false;
    if (this.cursor === store.chunks) this.cursor = 0;
    const end = starts[this.cursor]! + backgroundStep;
    for (let chunk = this.cursor; chunk < store.chunks && starts[chunk]! < end; chunk++) {
      this.want(chunk, 'background');
    }
    return true;
  }

  /**
   * Resolves when the chunks [from, to) came; rejects when one can't be had, sooner than a reader would. For what a mount needs before it
   * returns. Where the disk is full they are not in the store then.
   */
  async fetchNow(from: number, to: number): Promise<void> {
    await Promise.all(Array.from({ length: to - from }, (_, i) => this.obtain(from + i)));
  }

  /** Chunk i is the bytes [starts[i], starts[i + 1]) of the layer's file. */
  get starts(): Float64Array {
    return this.parts.chunks.starts;
  }

  /** The first `size` bytes of the layer's file, fetched as they are read. Closing it does nothing. */
  asSource(size: number): ByteSource {
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const bytes = Buffer.alloc(length);
      const end = offset + length;
      for (let chunk = chunkAt(this.starts, offset); length > 0 && this.starts[chunk]! < end; chunk++) {
        const start = Math.max(offset, this.starts[chunk]!);
        const part = bytes.subarray(start - offset, Math.min(end, this.starts[chunk + 1]!) - offset);
        const unstored = await this.obtain(chunk);
        if (unstored === null) await this.store.read(part, start);
        else unstored.copy(part, 0, start - this.starts[chunk]!);
      }
      return bytes;
    };
    return { name: this.requests.source.name, size, read, close: () => Promise.resolve() };
  }

  /** How many chunks from the first on the first `bytes` of the blob hold, at least one. */
  chunksWithin(bytes: number): number {
    let count = 1;
    while (
      count < this.parts.chunks.frameCount &&
      this.rangeOf(count).offset + this.rangeOf(count).size <= bytes
    )
      count++;
    return Math.min(count, this.store.chunks);
  }

  rangeOf(chunk: number): ChunkRange {
    return rangeOf(this.parts.chunks, chunk);
  }

  /** Called by the queue. Never rejects: what fails is tried again for those who wait. Each chunk is taken as soon as its bytes are here. */
  async fetch(
    first: number,
    last: number,
    urgency: Urgency,
    settled: (chunk: number) => void,
  ): Promise<void> {
    const { source } = this.requests;
    const taking = new Takings();
    try {
      for await (const frame of this.requests.framesOf(source, first, last, urgency)) {
        const size = Buffer.isBuffer(frame) ? frame.length : 0;
        await taking.add(size, this.take(first + taking.count, frame, source, settled));
      }
    } catch (error) {
      if (isNoSpace(error)) {
        this.refuseLarge(first, error, settled);
      } else {
        this.requests.leave(source);
        this.onFault(first + taking.count, last, error, settled);
      }
    }
    await taking.end();
    if (urgency === 'background') setImmediate(() => this.parts.onDrained?.());
  }

  counts(): LazyCounts {
    const { store } = this;
    return {
      chunks: store.chunks,
      present: store.count,
      bytesPresent: store.bytes,
      bytesFetched: this.requests.bytesFetched,
      requests: this.requests.count,
      ...this.foreseen.counts((chunk) => store.has(chunk)),
      source: this.requests.source.place,
      p50: this.latencies.quantile(0.5),
      p99: this.latencies.quantile(0.99),
    };
  }

  /** Gives up what is asked for, and closes sources and store. The FUSE server must not have the file any more. */
  async close(): Promise<void> {
    this.closing.abort();
    this.parts.queue.forget(this);
    this.demands.failAll(notServed(this.requests.source.name));
    const requestsEnded = this.requests.close();
    await this.takings.end();
    await requestsEnded;
    await this.store.close();
  }

  private takingsOf({ shared, decoding, queue, onDrained }: LazyLayerParts): SharedTakings {
    return new SharedTakings({
      shared,
      decoding,
      sizeOf: (chunk) => this.starts[chunk + 1]! - this.starts[chunk]!,
      take: (chunk, bytes) => this.takeShared(chunk, bytes),
      onMissing: queue.want.bind(queue, this),
      onDrained: () => void setImmediate(() => onDrained?.()),
    });
  }

  private get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  /** A reader of the kernel's waits for a chunk. */
  private demand(chunk: number): void {
    if (this.store.isChecked(chunk)) {
      this.parts.fuse.stored(this.node, chunk);
      return;
    }
    this.demands.add(chunk).isRead = true;
    void this.find(chunk);
  }

  /** Has a chunk that is waited for taken from the store, or fetched where that has not, or not any more, what it should have. */
  private async find(chunk: number): Promise<void> {
    const wasHere = this.store.has(chunk);
    const isHere = wasHere && (await this.store.check(chunk));
    if (this.isClosed) return;
    if (isHere) {
      this.demands.came(chunk, null);
      this.parts.fuse.stored(this.node, chunk);
      return;
    }
    if (wasHere) {
      this.parts.observer?.onFault('disk');
      this.parts.onWarning(`${this.store.path}: chunk ${chunk} is not what was stored; it is fetched again`);
    }
    this.ask(chunk, 'demand');
  }

  /** Has a chunk taken from another store, or fetched. */
  private ask(chunk: number, urgency: Urgency, runEnd?: number): void {
    if (!this.takings.begin(chunk, urgency, runEnd)) this.parts.queue.want(this, chunk, urgency, runEnd);
  }

  /** The bytes of a chunk that could not be stored; null when it is in the store. */
  private obtain(chunk: number): Promise<Buffer | null> {
    if (this.isClosed) return Promise.reject(notServed(this.requests.source.name));
    if (this.store.isChecked(chunk)) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.demands.add(chunk).callers.push({ resolve, reject });
      void this.find(chunk);
    });
  }

  /** Never rejects. */
  private async take(
    chunk: number,
    frame: Buffer | SpooledFrame,
    source: LayerSource,
    settled: (chunk: number) => void,
  ): Promise<void> {
    const { starts } = this;
    try {
      await this.parts.decoding.run(starts[chunk + 1]! - starts[chunk]!, async () => {
        if (this.isClosed || this.store.has(chunk)) return;
        const unstored = await this.placer.place(chunk, frame, source.name);
        settled(chunk);
        this.came(chunk, unstored);
      });
    } catch (error) {
      if (isWrong(error)) this.refuse(chunk, error as Error, source, settled);
      else if (isNoSpace(error)) this.refuseLarge(chunk, error, settled);
      else this.onFault(chunk, chunk, error, settled);
    } finally {
      if (!Buffer.isBuffer(frame)) await frame.file.close();
    }
  }

  /** A chunk of another store, which was compared with its digest there. */
  private async takeShared(chunk: number, bytes: Buffer): Promise<void> {
    if (this.store.has(chunk)) return;
    this.came(chunk, await this.placer.placeDecoded(chunk, bytes));
  }

  /** Tells those who wait for a chunk. */
  private came(chunk: number, unstored: Buffer | null): void {
    if (this.isClosed) return;
    const waited = this.demands.came(chunk, unstored);
    if (unstored === null) this.parts.fuse.stored(this.node, chunk);
    else this.parts.fuse.delivered(this.node, chunk, unstored);
    if (waited === null) return;
    this.latencies.add(waited);
    this.parts.observer?.onDemand(waited);
  }

  /**
   * Wrong bytes: the next source may have better ones, or the same one the next time. After that readers get an error, and the next reader
   * begins anew. What nobody waits for is left alone.
   */
  private refuse(chunk: number, error: Error, source: LayerSource, settled: (chunk: number) => void): void {
    settled(chunk);
    if (this.isClosed) return;
    this.parts.observer?.onFault('frame');
    this.parts.onWarning(`${source.place}: ${error.message}`);
    this.requests.leave(source);
    const demand = this.demands.get(chunk);
    if (demand === undefined) return;
    if (++demand.wrong < Math.max(minAnswers, this.parts.sources.length)) {
      this.parts.queue.want(this, chunk, 'demand');
    } else {
      this.fail(chunk, error);
    }
  }

  /** A chunk that needs the disk has no room there. */
  private refuseLarge(chunk: number, error: unknown, settled: (chunk: number) => void): void {
    settled(chunk);
    this.placer.warnOfDisk(error, "chunks that are too large for memory can't be read");
    this.fail(chunk, error);
  }

  /** Chunks did not come: for those who wait another source is asked at once, and all of them again after a while. */
  private onFault(first: number, last: number, error: unknown, settled: (chunk: number) => void): void {
    const { observer, onWarning, sources } = this.parts;
    if (!this.isClosed) observer?.onFault('network');
    let isNews = false;
    const again = (chunk: number): void => {
      this.parts.queue.want(this, chunk, 'demand');
    };
    const later: number[] = [];
    for (let chunk = first; chunk <= last; chunk++) {
      settled(chunk);
      const demand = this.demands.get(chunk);
      if (demand === undefined || this.isClosed) continue;
      isNews ||= demand.faults === 0;
      if (++demand.faults >= attemptsOfMount * sources.length) this.demands.failCallers(chunk, error);
      if (demand.faults < sources.length) again(chunk);
      else later.push(chunk);
    }
    if (later.length > 0) this.demands.later(later, again);
    if (isNews) onWarning(`${(error as Error).message}; trying again`);
  }

  private onTimeout(chunk: number): void {
    const why = `chunk ${chunk} did not come in ${this.parts.ioTimeout / 1000} s`;
    const error = failure('IO', this.requests.source.place, why);
    this.parts.observer?.onFault('timeout');
    this.parts.onWarning(error.message);
    this.fail(chunk, error);
    this.requests.giveUp(chunk);
  }

  private fail(chunk: number, error: unknown): void {
    this.demands.failed(chunk, error);
    this.parts.fuse.failed(this.node, chunk, inputOutputError);
  }
}

const notServed = (name: string) => failure('CANCELLED', name, 'the layer is not served any more');
