/** Between attempts for a chunk that somebody waits for; in milliseconds. It doubles up to the longest. */
const firstPause = 100;
const maxPause = 5000;
/** The kernel asks again for what a read ahead of a reader did not get, on behalf of the same reader: that is not given all the time anew. */
const repeatTime = 1000;

/** Work of the server's own that waits for a chunk. The bytes are null when the store has them. */
interface Caller {
  resolve: (bytes: Buffer | null) => void;
  reject: (error: unknown) => void;
}

/** A chunk that is waited for. */
interface Demand {
  /** When the first of those who wait came: performance.now(). */
  since: number;
  /** Answers that did not come, and answers that were wrong. */
  faults: number;
  wrong: number;
  /** Whether reads of the kernel wait, which have patience. */
  isRead: boolean;
  callers: Caller[];
  timer: NodeJS.Timeout;
}

/** Who waits for which chunks of a layer, each for a bounded time. */
export class Demands {
  private readonly byChunk = new Map<number, Demand>();
  /** Chunks that were given up a moment ago. */
  private readonly givenUp = new Set<number>();

  /** @param onTimeout the chunk did not come in `limit` milliseconds; it is still waited for until it is settled */
  constructor(
    private readonly limit: number,
    private readonly onTimeout: (chunk: number) => void,
  ) {}

  get(chunk: number): Demand | undefined {
    return this.byChunk.get(chunk);
  }

  /** The demand for a chunk, made when there is none. */
  add(chunk: number): Demand {
    const known = this.byChunk.get(chunk);
    if (known !== undefined) return known;
    const limit = this.givenUp.has(chunk) ? Math.min(repeatTime, this.limit) : this.limit;
    const timer = setTimeout(() => {
      this.giveUp(chunk);
    }, limit);
    const demand = {
      since: performance.now(),
      faults: 0,
      wrong: 0,
      isRead: false,
      callers: [],
      timer,
    } satisfies Demand;
    this.byChunk.set(chunk, demand);
    return demand;
  }

  private giveUp(chunk: number): void {
    this.givenUp.add(chunk);
    setTimeout(() => this.givenUp.delete(chunk), repeatTime).unref();
    this.onTimeout(chunk);
  }

  /** Calls `again` with those of the chunks that are still waited for after a pause, which grows with the faults; together, so that they can be joined. */
  later(chunks: readonly number[], again: (chunk: number) => void): void {
    const demands = chunks.map((chunk) => this.byChunk.get(chunk));
    const faults = Math.max(...demands.map((demand) => demand?.faults ?? 0));
    const pause = Math.min(firstPause * 2 ** (faults - 1), maxPause);
    setTimeout(
      () => {
        for (const [i, chunk] of chunks.entries()) {
          if (demands[i] !== undefined && this.byChunk.get(chunk) === demands[i]) again(chunk);
        }
      },
      pause * (0.5 + Math.random() / 2),
    ).unref();
  }

  /** The chunk came. Returns how long it was waited for, in milliseconds; null when nobody did. */
  came(chunk: number, bytes: Buffer | null): number | null {
    const demand = this.remove(chunk);
    if (demand === undefined) return null;
    for (const { resolve } of demand.callers) resolve(bytes);
    return performance.now() - demand.since;
  }

  /** The chunk can't be had. */
  failed(chunk: number, error: unknown): void {
    for (const { reject } of this.remove(chunk)?.callers ?? []) reject(error);
  }

  /** Those without patience give up; the kernel's reads, if there are any, go on waiting. */
  failCallers(chunk: number, error: unknown): void {
    const demand = this.byChunk.get(chunk);
    if (demand?.isRead === false) this.failed(chunk, error);
    else for (const { reject } of demand?.callers.splice(0) ?? []) reject(error);
  }

  failAll(error: unknown): void {
    for (const chunk of [...this.byChunk.keys()]) this.failed(chunk, error);
  }

  private remove(chunk: number): Demand | undefined {
    const demand = this.byChunk.get(chunk);
    clearTimeout(demand?.timer);
    this.byChunk.delete(chunk);
    return demand;
  }
}
