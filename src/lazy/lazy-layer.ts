import type { Semaphore } from 'async-mutex';
import { read } from 'node:fs';
import { promisify } from 'node:util';
import { SeekableErofsError, failure } from '../errors';
import { serializeVeritySuperblock } from '../format/verity-superblock';
import { decodeFrame } from '../layer/decoded-range';
import type { FuseEvent, NativeFuseServer } from '../native/binding';
import type { ByteSource } from '../source/byte-source';
import type { ChunkStore } from './chunk-store';
import type { FetchQueue, FetchTarget, Urgency } from './fetch-queue';
import { Latencies } from './latencies';
import { chunkAt, rangeOf, type ChunkRange, type LayerChunks } from './layer-chunks';
import { ReadAhead } from './read-ahead';
import { VerifiedTree } from './verified-tree';

const readFd = promisify(read);
const inputOutputError = 5; // EIO
/** Between attempts for a chunk that a reader waits for; in milliseconds. It doubles up to the longest. */
const firstPause = 100;
const longestPause = 5000;
/** Bytes of the layer that the background asks for at once. */
const backgroundStep = 4 << 20;
/** Bytes of the blob that fetchNow() asks for at once. */
const maxAtOnce = 4 << 20;

/** What a lazy layer works with; all but the first three belong to the server and are shared by its layers. */
export interface LazyLayerParts {
  /** The file's number on the FUSE mount. */
  node: number;
  chunks: LayerChunks;
  store: ChunkStore;
  /** Where the blob can be read, the preferred one first; each names itself. */
  sources: readonly ByteSource[];
  fuse: Pick<NativeFuseServer, 'stored' | 'delivered' | 'failed'>;
  queue: FetchQueue;
  /** Bounds the chunks that are decoded at once. */
  decoding: Semaphore;
  /** How long a reader waits at most, in milliseconds. */
  ioTimeout: number;
  onWarning: (line: string) => void;
  /** A chunk was stored. */
  onStored?: ((layer: LazyLayer) => void) | undefined;
  /** Told of each demand that was answered, and of each chunk that was fetched. */
  onFetched?: ((what: { urgency: Urgency; bytes: number; source: string }) => void) | undefined;
  onDemand?: ((milliseconds: number) => void) | undefined;
  onError?: ((kind: 'frame' | 'network' | 'timeout' | 'disk') => void) | undefined;
}

interface Demand {
  since: number;
  timer: NodeJS.Timeout;
  attempts: number;
}

/** What a layer can tell of itself. */
export interface LazyCounts {
  chunks: number;
  present: number;
  bytesPresent: number;
  bytesFetched: number;
  requests: number;
  source: string;
  /** Of demands, in milliseconds; null before the first. */
  p50: number | null;
  p99: number | null;
}

/**
 * One layer that fills as it is read: takes the FUSE server's events, asks the queue for chunks, checks and decodes what comes and stores
 * it. A chunk that turns out wrong is tried from the next source, and is never stored or served; its readers get EIO when all sources are
 * wrong. Without the network readers wait, at most for `ioTimeout`.
 */
export class LazyLayer implements FetchTarget {
  private readonly readAhead: ReadAhead;
  private readonly tree: VerifiedTree | null;
  private readonly demands = new Map<number, Demand>();
  /** Of chunks that came wrong: how many sources were tried. */
  private readonly triedSources = new Map<number, number>();
  private readonly latencies = new Latencies();
  private source = 0;
  private cursor = 0;
  private bytesFetched = 0;
  private requests = 0;
  private isClosed = false;
  private hasWarnedOfDisk = false;

  constructor(private readonly parts: LazyLayerParts) {
    const { chunks, sources } = parts;
    this.readAhead = new ReadAhead(chunks.starts);
    this.tree =
      chunks.tree &&
      new VerifiedTree(sources[0]!.name, chunks.tree, (offset, length) =>
        this.current().read(offset, length),
      );
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
    const { from, to } = this.readAhead.onRead(first, last);
    for (let chunk = from; chunk < to; chunk++) this.want(chunk, 'ahead');
  }

  /** Asks for a chunk that nobody waits for yet. */
  want(chunk: number, urgency: Urgency): void {
    if (!this.isClosed && !this.store.has(chunk)) this.parts.queue.want(this, chunk, urgency);
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

  /** Resolves when the chunks [from, to) are here; rejects when one can't be had. For what a mount needs before it returns. */
  async fetchNow(from: number, to: number): Promise<void> {
    const missing = Array.from({ length: to - from }, (_, i) => from + i).filter(
      (chunk) => !this.store.has(chunk),
    );
    for (let at = 0; at < missing.length;) {
      const first = missing[at++]!;
      let last = first;
      while (
        missing[at] === last + 1 &&
        this.rangeOf(last + 1).offset - this.rangeOf(first).offset < maxAtOnce
      ) {
        last = missing[at++]!;
      }
      await this.obtain(first, last, 'demand');
    }
  }

  /** Chunk i is the bytes [starts[i], starts[i + 1]) of the layer's file. */
  get starts(): Float64Array {
    return this.parts.chunks.starts;
  }

  /** The first `size` bytes of the layer's file, fetched as they are read. Closing it does nothing. */
  asSource(size: number): ByteSource {
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const bytes = Buffer.alloc(length);
      if (length === 0) return bytes;
      await this.fetchNow(chunkAt(this, offset), chunkAt(this, offset + length - 1) + 1);
      await readFd(this.store.fd, bytes, 0, length, offset);
      return bytes;
    };
    return { name: this.current().name, size, read, close: () => Promise.resolve() };
  }

  rangeOf(chunk: number): ChunkRange {
    return rangeOf(this.parts.chunks, chunk);
  }

  /** Called by the queue. Never rejects: what fails is tried again for those who wait. */
  async fetch(first: number, last: number, urgency: Urgency): Promise<void> {
    try {
      await this.obtain(first, last, urgency);
    } catch (error) {
      if (this.isClosed) return;
      this.nextSource();
      this.parts.onError?.('network');
      for (let chunk = first; chunk <= last; chunk++) this.tryLater(chunk, error);
    }
  }

  counts(): LazyCounts {
    const { store } = this;
    return {
      chunks: store.chunks,
      present: store.count,
      bytesPresent: store.bytes,
      bytesFetched: this.bytesFetched,
      requests: this.requests,
      source: this.current().name,
      p50: this.latencies.quantile(0.5),
      p99: this.latencies.quantile(0.99),
    };
  }

  /** Gives up what is asked for, and closes sources and store. The FUSE server must not have the file any more. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.parts.queue.forget(this);
    for (const { timer } of this.demands.values()) clearTimeout(timer);
    this.demands.clear();
    await Promise.allSettled(this.parts.sources.map((source) => source.close()));
    await this.store.close();
  }

  private current(): ByteSource {
    return this.parts.sources[this.source]!;
  }

  private nextSource(): void {
    this.source = (this.source + 1) % this.parts.sources.length;
  }

  private demand(chunk: number): void {
    if (this.store.has(chunk)) {
      this.parts.fuse.stored(this.node, chunk);
      return;
    }
    if (!this.demands.has(chunk)) {
      const timer = setTimeout(() => {
        this.parts.onError?.('timeout');
        this.parts.onWarning(
          `${this.current().name}: chunk ${chunk} did not come in ${this.parts.ioTimeout / 1000} s`,
        );
        this.fail(chunk);
      }, this.parts.ioTimeout);
      this.demands.set(chunk, { since: performance.now(), timer, attempts: 0 });
    }
    this.parts.queue.want(this, chunk, 'demand');
  }

  private tryLater(chunk: number, error: unknown): void {
    const demand = this.demands.get(chunk);
    if (demand === undefined) return;
    if (demand.attempts++ === 0) this.parts.onWarning(`${(error as Error).message}; trying again`);
    const pause = Math.min(firstPause * 2 ** (demand.attempts - 1), longestPause);
    setTimeout(
      () => {
        if (this.demands.get(chunk) === demand) this.parts.queue.want(this, chunk, 'demand');
      },
      pause * (0.5 + Math.random() / 2),
    ).unref();
  }

  /** Chunks that lie behind each other in the blob, in one request. */
  private async obtain(first: number, last: number, urgency: Urgency): Promise<void> {
    const source = this.current();
    const start = this.rangeOf(first).offset;
    const end = this.rangeOf(last).offset + this.rangeOf(last).size;
    this.requests++;
    const bytes = await source.read(start, end - start);
    this.bytesFetched += bytes.length;
    this.parts.onFetched?.({ urgency, bytes: bytes.length, source: source.name });
    for (let chunk = first; chunk <= last; chunk++) {
      const { offset, size } = this.rangeOf(chunk);
      await this.parts.decoding.runExclusive(() =>
        this.take(chunk, bytes.subarray(offset - start, offset - start + size), source),
      );
    }
  }

  private async take(chunk: number, bytes: Buffer, source: ByteSource): Promise<void> {
    if (this.isClosed || this.store.has(chunk)) return;
    let decoded: Buffer;
    try {
      decoded = await this.decode(chunk, bytes, source.name);
    } catch (error) {
      if (!isWrong(error)) throw error;
      this.refuse(chunk, error as SeekableErofsError, source);
      return;
    }
    this.triedSources.delete(chunk);
    await this.keep(chunk, decoded);
    const demand = this.demands.get(chunk);
    if (demand === undefined) return;
    const milliseconds = performance.now() - demand.since;
    this.latencies.add(milliseconds);
    this.parts.onDemand?.(milliseconds);
    this.settle(chunk);
  }

  /** A frame is compared with its checksum and decoded; a piece of the tree is compared with the blocks above it. */
  private async decode(chunk: number, bytes: Buffer, name: string): Promise<Buffer> {
    const { chunks } = this.parts;
    const size = chunks.starts[chunk + 1]! - chunks.starts[chunk]!;
    if (chunk < chunks.frameCount) {
      return padded(await decodeFrame(bytes, chunks.frames, chunk, name), size);
    }
    const { treeOffset, superblock } = chunks.tree!;
    const { offset } = this.rangeOf(chunk);
    // Before the tree stands the superblock, which was compared with the descriptor when the blob was opened: it is written anew.
    const skipped = Math.max(0, Math.min(bytes.length, treeOffset - offset));
    await this.tree!.check(bytes.subarray(skipped), offset + skipped - treeOffset);
    const head = Buffer.alloc(skipped);
    if (skipped > 0) head.set(serializeVeritySuperblock(superblock));
    return padded(Buffer.concat([head, bytes.subarray(skipped)]), size);
  }

  private async keep(chunk: number, decoded: Buffer): Promise<void> {
    const { fuse, onStored } = this.parts;
    try {
      await this.store.write(chunk, decoded);
    } catch (error) {
      this.parts.onError?.('disk');
      if (!this.hasWarnedOfDisk)
        this.parts.onWarning(`${(error as Error).message}; chunks are served without being stored`);
      this.hasWarnedOfDisk = true;
      fuse.delivered(this.node, chunk, decoded);
      return;
    }
    this.hasWarnedOfDisk = false;
    fuse.stored(this.node, chunk);
    onStored?.(this);
  }

  /** Wrong bytes: the next source may have better ones. When all have been asked, readers get an error, and the next reader begins anew. */
  private refuse(chunk: number, error: SeekableErofsError, source: ByteSource): void {
    this.parts.onError?.('frame');
    this.parts.onWarning(`${source.name}: ${error.message}`);
    const tried = (this.triedSources.get(chunk) ?? 0) + 1;
    if (source === this.current()) this.nextSource();
    if (tried < this.parts.sources.length) {
      this.triedSources.set(chunk, tried);
      setImmediate(() => {
        if (this.demands.has(chunk)) this.parts.queue.want(this, chunk, 'demand');
      });
      return;
    }
    this.triedSources.delete(chunk);
    this.fail(chunk);
  }

  private fail(chunk: number): void {
    this.settle(chunk);
    this.parts.fuse.failed(this.node, chunk, inputOutputError);
  }

  private settle(chunk: number): void {
    clearTimeout(this.demands.get(chunk)?.timer);
    this.demands.delete(chunk);
  }
}

function isWrong(error: unknown): boolean {
  return error instanceof SeekableErofsError && (error.code === 'MISMATCH' || error.code === 'CORRUPT');
}

/** The bytes with zeros behind them, as many as the layer's file has there. */
function padded(bytes: Buffer, size: number): Buffer {
  if (bytes.length === size) return bytes;
  if (bytes.length > size)
    throw failure('CORRUPT', 'chunk', `${bytes.length} bytes where the layer has ${size}`);
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
}
