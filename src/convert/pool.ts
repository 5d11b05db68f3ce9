import { Mutex, Semaphore } from 'async-mutex';
import { failure } from '../errors';
import type { ResourceOptions } from '../job';
import { resourcesOf } from '../layer/resources';
import { SharedDestinations } from './shared-destinations';

/** Compressed layers below this are small: as many as keep every thread busy are under way at once, of larger ones four. */
const smallLayer = 16 << 20; // bytes
const largeLayersAtOnce = 4;

/** Something that is made once, and where it was put. */
interface Shared {
  place: object;
  thing: Promise<unknown>;
}

/**
 * What the conversions of a run share, of one image or of many: the threads, the number of layers that are open at once (and with that
 * memory and disk), and the layers that are converted already or being converted.
 */
export class ConversionPool {
  private readonly threads: number;
  private readonly permits: Semaphore;
  private readonly slots: Semaphore;
  private readonly turn = new Mutex();
  /** Those that were asked for last, at the end. */
  private readonly made = new Map<string, Shared>();
  private readonly remembered: number;
  /**
   * Layouts and caches that several conversions write at the same time, opened once: so they find each other's blobs.
   * @internal
   */
  readonly destinations = new SharedDestinations();

  /** @param options `threads`: how many encode at once, over all layers; default: all cores. `remembered`: how many layers; default: 10,000 */
  constructor(options: Pick<ResourceOptions, 'threads'> & { remembered?: number } = {}) {
    this.remembered = options.remembered ?? 10_000;
    const { threads } = resourcesOf(options);
    this.threads = threads;
    this.permits = new Semaphore(threads);
    this.slots = new Semaphore(largeLayersAtOnce * threads);
  }

  /**
   * Runs `work` on a layer, from its opening to its last byte written, when there is room for one of `size` bytes: one layer is
   * fetched and inflated, one encoded, one uploaded at the same time.
   */
  async open<T>(size: number, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const weight = size < smallLayer ? Math.min(2, this.threads) : this.threads;
    return this.slots.runExclusive(() => {
      checkNotAborted(signal);
      return work();
    }, weight);
  }

  /** Runs `work`, which is `pieces` of work at most that can go side by side, on as many threads as it can use, when they are free. */
  async compute<T>(
    pieces: number,
    signal: AbortSignal | undefined,
    work: (threads: number) => Promise<T>,
  ): Promise<T> {
    const threads = Math.max(1, Math.min(pieces, this.threads));
    return this.permits.runExclusive(() => {
      checkNotAborted(signal);
      return work(threads);
    }, threads);
  }

  /**
   * Calls `make` once in this run for each `key`, and gives its result to all callers of that key. `place` is the destination that the result
   * was made for. A caller with another destination gets the result only if `isThere` finds it there too. When the caller that makes the
   * result fails, even because another layer of its image failed, the callers that wait make it themselves.
   */
  async once<T>(
    key: string,
    place: object,
    { isThere, make }: { isThere: (thing: T) => Promise<boolean>; make: () => Promise<T> },
  ): Promise<T> {
    for (let shared = this.made.get(key); shared !== undefined; shared = this.made.get(key)) {
      const thing = await (shared.thing as Promise<T>).catch(() => null);
      if (thing === null) continue; // its maker has taken it out of the map
      if (shared.place === place || (await isThere(thing))) {
        this.remember(key, shared);
        return thing;
      }
      this.forget(key, shared);
    }
    const thing = make();
    const shared = { place, thing };
    this.remember(key, shared);
    thing.catch(() => {
      this.forget(key, shared);
    });
    return thing;
  }

  /** Runs `work` when no other conversion of the run is in its own: of two that add to one index, the second must see the first's. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.turn.runExclusive(work);
  }

  /** A worker that runs for months must not remember all that it ever made. */
  private remember(key: string, shared: Shared): void {
    this.made.delete(key);
    this.made.set(key, shared);
    const [oldest] = this.made.keys();
    if (this.made.size > this.remembered && oldest !== undefined) this.made.delete(oldest);
  }

  private forget(key: string, shared: Shared): void {
    if (this.made.get(key) === shared) this.made.delete(key);
  }
}

function checkNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw failure('CANCELLED', 'conversion', 'cancelled');
}
