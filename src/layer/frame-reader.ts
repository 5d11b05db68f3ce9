import { failure } from '../errors';
import type { FrameTable } from '../native/binding';
import type { ByteSource } from '../source/byte-source';
import type { FrameCache } from '../source/cached';
import { checksumOf, frameRange } from './decoded-range';

/** Bytes of the longest read that joins neighbours. A frame that is larger is read alone. */
const maxJoin = 16 << 20;

/** A frame as it is stored, not checked against anything when it comes from the blob. */
interface StoredFrame {
  bytes: Buffer;
  /** Whether it comes out of the cache on disk, and so is verified. */
  isCached: boolean;
}

interface Request {
  index: number;
  signal: AbortSignal;
  resolve: (frame: StoredFrame) => void;
  reject: (error: unknown) => void;
}

/** Fetches frames. What is asked for in one turn of the event loop is fetched together: neighbours in one read. */
export class FrameReader {
  private requests: Request[] = [];

  constructor(
    private readonly blob: ByteSource,
    private readonly frames: FrameTable,
    private readonly cache: FrameCache | null,
  ) {}

  /** The frame of this index; `signal` takes this request alone out of a joint read. */
  fetch(index: number, signal: AbortSignal): Promise<StoredFrame> {
    return new Promise((resolve, reject) => {
      if (this.requests.length === 0) setImmediate(() => void this.fetchAll());
      this.requests.push({ index, signal, resolve, reject });
    });
  }

  private async fetchAll(): Promise<void> {
    const requests = this.requests.sort((a, b) => a.index - b.index);
    this.requests = [];
    const found = await Promise.all(requests.map((request) => this.fromCache(request)));
    const missing = requests.filter((_, i) => found[i] === false);
    for (const run of this.joinNeighbours(missing)) void this.fetchRun(run);
  }

  /** Whether the request is answered, with a frame or with CANCELLED. */
  private async fromCache({ index, signal, resolve, reject }: Request): Promise<boolean> {
    if (signal.aborted) {
      reject(this.cancelled());
      return true;
    }
    if (this.cache === null) return false;
    const bytes = await this.cache.get(checksumOf(this.frames, index), frameRange(this.frames, index).size);
    if (bytes === null) return false;
    resolve({ bytes, isCached: true });
    return true;
  }

  /** Cuts sorted requests into runs of frames that lie behind each other. */
  private joinNeighbours(requests: readonly Request[]): Request[][] {
    const { offsets } = this.frames;
    const runs: Request[][] = [];
    for (const request of requests) {
      const run = runs.at(-1);
      const { index } = request;
      const canJoin =
        run?.at(-1)?.index === index - 1 && offsets[index + 1]! - offsets[run[0]!.index]! <= maxJoin;
      if (canJoin) run.push(request);
      else runs.push([request]);
    }
    return runs;
  }

  private async fetchRun(run: readonly Request[]): Promise<void> {
    const start = this.frames.offsets[run[0]!.index]!;
    const end = this.frames.offsets[run.at(-1)!.index + 1]!;
    const signal = whenAllAborted(run);
    try {
      const bytes = await this.blob.read(start, end - start, signal);
      for (const { index, resolve } of run) {
        const { offset, size } = frameRange(this.frames, index);
        resolve({ bytes: bytes.subarray(offset - start, offset - start + size), isCached: false });
      }
    } catch (error) {
      for (const { reject } of run) reject(signal.aborted ? this.cancelled() : error);
    }
  }

  private cancelled(): Error {
    return failure('CANCELLED', this.blob.name, 'cancelled');
  }
}

/** A joint read is given up when everybody who wants a part of it has. */
function whenAllAborted(requests: readonly Request[]): AbortSignal {
  const controller = new AbortController();
  let waiting = requests.length;
  const leave = (): void => {
    if (--waiting === 0) controller.abort();
  };
  for (const { signal } of requests) {
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
  }
  return controller.signal;
}
