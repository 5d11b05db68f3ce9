import { piecesOf } from '../source/byte-source';
import type { Urgency } from './fetch-queue';
import { inParts } from './in-parts';
import type { LargeChunks, SpooledFrame } from './large-chunks';
import { isLargeFrame, rangeOf, type LayerChunks } from './layer-chunks';
import type { LayerSource } from './layer-sources';
import type { LazyObserver } from './observer';

interface FrameRequestsParts {
  chunks: LayerChunks;
  large: LargeChunks;
  /** Where the blob can be read, the preferred one first. */
  sources: readonly LayerSource[];
  observer?: LazyObserver | undefined;
}

/** The requests for a layer's frames: which source is asked, what is under way, and what it came to. */
export class FrameRequests {
  /** How many were begun. */
  count = 0;
  bytesFetched = 0;
  private readonly underWay = new Set<{ first: number; last: number; stop: AbortController }>();
  private current = 0;
  private isClosed = false;

  constructor(private readonly parts: FrameRequestsParts) {}

  /** The one that is asked now. */
  get source(): LayerSource {
    return this.parts.sources[this.current]!;
  }

  /** It is the next one's turn, where there are several, unless that came about already. */
  leave(source: LayerSource): void {
    if (source === this.source) this.current = (this.current + 1) % this.parts.sources.length;
  }

  /** The frames of chunks that lie behind each other in the blob, each as soon as it is here, in one request. */
  async *framesOf(
    source: LayerSource,
    first: number,
    last: number,
    urgency: Urgency,
  ): AsyncGenerator<Buffer | SpooledFrame> {
    const request = { first, last, stop: new AbortController() };
    if (this.isClosed) request.stop.abort();
    this.underWay.add(request);
    try {
      yield* this.read(source, request, urgency);
    } finally {
      this.underWay.delete(request);
    }
  }

  /** Ends the request for a chunk: whoever asks for it again must not wait for the same answer. */
  giveUp(chunk: number): void {
    for (const { first, last, stop } of this.underWay) if (first <= chunk && chunk <= last) stop.abort();
  }

  /** Ends what is under way, and lets go of the sources. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const { stop } of this.underWay) stop.abort();
    await Promise.allSettled(this.parts.sources.map((source) => source.close()));
  }

  private async *read(
    source: LayerSource,
    { first, last, stop: { signal } }: { first: number; last: number; stop: AbortController },
    urgency: Urgency,
  ): AsyncGenerator<Buffer | SpooledFrame> {
    const { chunks, large } = this.parts;
    const ranges = Array.from({ length: last - first + 1 }, (_, i) => rangeOf(chunks, first + i));
    const sizes = ranges.map(({ size }) => size);
    const length = sizes.reduce((sum, size) => sum + size, 0);
    const pieces = this.counted(piecesOf(source, ranges[0]!.offset, length, signal), source, urgency);
    if (first === last && isLargeFrame(length))
      yield await large.spool(pieces, signal); // it is one: none is joined to another
    else yield* inParts(pieces, sizes);
  }

  private async *counted(
    pieces: AsyncIterable<Buffer>,
    { place }: LayerSource,
    urgency: Urgency,
  ): AsyncGenerator<Buffer> {
    const { observer } = this.parts;
    this.count++;
    observer?.onRequest({ urgency, source: place });
    for await (const piece of pieces) {
      this.bytesFetched += piece.length;
      observer?.onFetched({ urgency, source: place, bytes: piece.length });
      yield piece;
    }
  }
}
