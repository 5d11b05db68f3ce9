import type { CompressedContext } from './context';
import type { Encoded } from './extent';

const maxRun = 1 << 20;

/** Stored bytes that lie together, read at once when the first of them are needed. */
interface Run {
  offset: number;
  length: number;
  bytes?: Promise<Buffer>;
}

/** Reads the stored bytes of a few extents, joining neighbours to one request. */
export class EncodedRuns {
  readonly #runs = new Map<Encoded, Run>();
  #latest: Run | undefined;

  constructor(private readonly context: Pick<CompressedContext, 'readData' | 'readMetadata'>) {}

  /** Says that these bytes will be read soon. */
  announce(source: Encoded): void {
    if (source.area !== 'data') return;
    const latest = this.#latest;
    if (latest !== undefined && latest.offset + latest.length === source.offset && latest.length < maxRun) {
      latest.length += source.length;
    } else {
      this.#latest = { offset: source.offset, length: source.length };
    }
    this.#runs.set(source, this.#latest!);
  }

  /** The stored bytes of an extent, announced or not. */
  async read(source: Encoded): Promise<Buffer> {
    const { area, offset, length } = source;
    if (area === 'metadata') return this.context.readMetadata(offset, length);
    const run = this.#runs.get(source);
    if (run === undefined) return this.context.readData(offset, length);
    run.bytes ??= this.context.readData(run.offset, run.length);
    const from = offset - run.offset;
    return (await run.bytes).subarray(from, from + length);
  }
}
