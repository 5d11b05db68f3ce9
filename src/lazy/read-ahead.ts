/** What is read ahead of a reader that jumps: about what a network brings in the time of one round trip. */
const firstWindow = 1 << 20; // bytes of the image
const maxWindow = 16 << 20;
/** Readers of one layer that are told apart. */
const maxStreams = 16;
/** Jumps in a row after which nothing is read ahead of one: their neighbours were not wanted. */
const maxIdleJumps = 8;

interface Stream {
  /** The chunk that comes next if the reader goes on. */
  next: number;
  /** Up to which chunk was asked for. */
  asked: number;
  window: number;
}

/**
 * Guesses what the readers of one layer want next, from the chunks that they read for the first time. Windows are in bytes, across the
 * borders of chunks, so that small chunks cost no round trips of their own; they double while a reader goes on, and begin small with one
 * that jumps, or at nothing once jumps have not been followed by their neighbours for a while.
 */
export class ReadAhead {
  private readonly streams: Stream[] = [];
  private idleJumps = 0;

  /** @param starts chunk i is the bytes [starts[i], starts[i + 1]) of the layer's file */
  constructor(private readonly starts: Float64Array) {}

  /** Chunks `first` to `last` were read for the first time. Returns the chunks [from, to) to fetch ahead. */
  onRead(first: number, last: number): { from: number; to: number } {
    const stream = this.find(first) ?? this.begin(first);
    stream.next = last + 1;
    const to = this.chunkAfter(stream.next, stream.window);
    const from = Math.max(stream.next, Math.min(stream.asked, to));
    stream.asked = Math.max(stream.asked, to);
    return { from, to };
  }

  /** The reader that goes on with this chunk, or comes back within what was read ahead of it. */
  private find(chunk: number): Stream | undefined {
    const at = this.streams.findIndex(({ next, asked }) => chunk >= next && chunk <= Math.max(next, asked));
    if (at < 0) return undefined;
    const [stream] = this.streams.splice(at, 1);
    this.streams.push(stream!);
    stream!.window = Math.min(Math.max(stream!.window * 2, firstWindow), maxWindow);
    this.idleJumps = 0;
    return stream;
  }

  private begin(chunk: number): Stream {
    this.idleJumps++;
    const window = this.idleJumps > maxIdleJumps ? 0 : firstWindow;
    const stream = { next: chunk, asked: chunk, window };
    this.streams.push(stream);
    if (this.streams.length > maxStreams) this.streams.shift();
    return stream;
  }

  /** The first chunk that begins `bytes` or more after the beginning of `chunk`. */
  private chunkAfter(chunk: number, bytes: number): number {
    const count = this.starts.length - 1;
    if (chunk >= count) return count;
    const end = this.starts[chunk]! + bytes;
    let to = chunk;
    while (to < count && this.starts[to]! < end) to++;
    return to;
  }
}
