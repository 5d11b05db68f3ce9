/** Why a chunk is fetched, the most urgent first: a reader waits; a recorded run wanted it; a reader will want it; some day. */
export const urgencies = ['demand', 'prefetch', 'ahead', 'background'] as const;
export type Urgency = (typeof urgencies)[number];

/** Stored bytes of one request that a reader waits for, its own chunk aside: later ones come with the next requests. */
const maxDemandJoin = 1 << 20;
/** Of any other request. */
const maxJoin = 4 << 20;
/** Stored bytes that may be under way at once, over all layers: what bounds the memory of the server. */
const maxBytesUnderWay = 32 << 20;

/** What the queue fetches from. */
export interface FetchTarget {
  /** Where chunk `chunk` lies in the blob as stored. */
  rangeOf(chunk: number): { offset: number; size: number };
  /** Chunks that lie behind each other in the blob in this order may be fetched together, `last` included. */
  fetch(first: number, last: number, urgency: Urgency): Promise<void>;
}

interface Wanted {
  urgency: number;
  /** Of several equally urgent, the one that was asked for first. */
  order: number;
}

interface Queue {
  target: FetchTarget;
  wanted: Map<number, Wanted>;
  running: Set<number>;
}

/** How much is fetched at once. */
export interface FetchLimits {
  /** Requests under way, over all layers; what nobody waits for takes half of them at most. */
  requests: number;
  /** Bytes a second of the background; Infinity: as fast as it goes, 0: none. */
  backgroundRate: number;
}

/**
 * The one queue of a machine: which chunks of which layers are fetched, in which order, and how many at once. Neighbours are joined to one
 * request; its borders are always those of frames, so that proxies and caches see the same ranges from everyone. A chunk that is being
 * fetched is not fetched again.
 */
export class FetchQueue {
  private readonly queues = new Set<Queue>();
  private readonly byTarget = new Map<FetchTarget, Queue>();
  private order = 0;
  private requests = 0;
  private unhurried = 0;
  private bytes = 0;
  private backgroundAt = 0;
  private timer: NodeJS.Timeout | null = null;
  private isScheduled = false;

  constructor(private readonly limits: FetchLimits) {}

  /** Asks for a chunk; a chunk that is asked for already becomes as urgent as this. Nothing happens in this turn of the event loop. */
  want(target: FetchTarget, chunk: number, urgency: Urgency): void {
    const queue = this.queueOf(target);
    if (queue.running.has(chunk)) return;
    const level = urgencies.indexOf(urgency);
    const known = queue.wanted.get(chunk);
    if (known !== undefined && known.urgency <= level) return;
    queue.wanted.set(chunk, { urgency: level, order: this.order++ });
    this.schedule();
  }

  /** Whether a chunk is asked for or under way. */
  has(target: FetchTarget, chunk: number): boolean {
    const queue = this.byTarget.get(target);
    return queue !== undefined && (queue.wanted.has(chunk) || queue.running.has(chunk));
  }

  /** Gives up what nobody waits for any more: all chunks of a layer that are not under way. */
  forget(target: FetchTarget): void {
    const queue = this.byTarget.get(target);
    if (queue === undefined) return;
    queue.wanted.clear();
    this.drop(queue);
  }

  /** How many chunks are asked for, by urgency. */
  waiting(target: FetchTarget): number {
    const queue = this.byTarget.get(target);
    return queue === undefined ? 0 : queue.wanted.size + queue.running.size;
  }

  /** What is asked for in one turn of the event loop is looked at together, so that neighbours find each other. */
  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      while (this.startNext());
    });
  }

  private startNext(): boolean {
    if (this.requests >= this.limits.requests) return false;
    const next = this.mostUrgent();
    if (next === null) return false;
    const { queue, chunk, wanted } = next;
    const isDemand = wanted.urgency === 0;
    if (!isDemand && this.unhurried >= Math.ceil(this.limits.requests / 2)) return false;
    const { first, last, size } = joined(queue, chunk, isDemand ? maxDemandJoin : maxJoin);
    if (this.bytes > 0 && this.bytes + size > maxBytesUnderWay) return false;
    if (urgencies[wanted.urgency] === 'background' && !this.mayRunInBackground(size)) return false;
    void this.run(queue, { first, last, size, urgency: urgencies[wanted.urgency]! });
    return true;
  }

  private mostUrgent(): { queue: Queue; chunk: number; wanted: Wanted } | null {
    let best: { queue: Queue; chunk: number; wanted: Wanted } | null = null;
    for (const queue of this.queues) {
      for (const [chunk, wanted] of queue.wanted) {
        if (best === null || isBefore(wanted, best.wanted)) best = { queue, chunk, wanted };
      }
    }
    return best;
  }

  private async run(
    queue: Queue,
    { first, last, size, urgency }: { first: number; last: number; size: number; urgency: Urgency },
  ): Promise<void> {
    for (let chunk = first; chunk <= last; chunk++) {
      queue.wanted.delete(chunk);
      queue.running.add(chunk);
    }
    const isUnhurried = urgency !== 'demand';
    this.requests++;
    this.bytes += size;
    if (isUnhurried) this.unhurried++;
    try {
      await queue.target.fetch(first, last, urgency);
    } finally {
      for (let chunk = first; chunk <= last; chunk++) queue.running.delete(chunk);
      this.requests--;
      this.bytes -= size;
      if (isUnhurried) this.unhurried--;
      this.drop(queue);
      this.schedule();
    }
  }

  /** The background pays for each request before the next one begins. */
  private mayRunInBackground(size: number): boolean {
    const { backgroundRate } = this.limits;
    if (backgroundRate === Infinity) return true;
    const now = performance.now();
    if (backgroundRate === 0) return false;
    if (now < this.backgroundAt) {
      this.timer ??= setTimeout(() => {
        this.timer = null;
        this.schedule();
      }, this.backgroundAt - now).unref();
      return false;
    }
    this.backgroundAt = now + (size / backgroundRate) * 1000;
    return true;
  }

  private queueOf(target: FetchTarget): Queue {
    const known = this.byTarget.get(target);
    if (known !== undefined) return known;
    const queue = { target, wanted: new Map<number, Wanted>(), running: new Set<number>() };
    this.queues.add(queue);
    this.byTarget.set(target, queue);
    return queue;
  }

  private drop(queue: Queue): void {
    if (queue.wanted.size > 0 || queue.running.size > 0) return;
    this.queues.delete(queue);
    this.byTarget.delete(queue.target);
  }
}

function isBefore(a: Wanted, b: Wanted): boolean {
  return a.urgency < b.urgency || (a.urgency === b.urgency && a.order < b.order);
}

/** The chunk and its wanted neighbours, after it first: as many as `maxBytes` of the blob hold, or the chunk alone. */
function joined({ target, wanted }: Queue, chunk: number, maxBytes: number) {
  let [first, last] = [chunk, chunk];
  let { size } = target.rangeOf(chunk);
  const tryAdd = (neighbour: number, edge: number): boolean => {
    if (!wanted.has(neighbour)) return false;
    const [range, at] = [target.rangeOf(neighbour), target.rangeOf(edge)];
    const isNext =
      neighbour > edge ? at.offset + at.size === range.offset : range.offset + range.size === at.offset;
    if (!isNext || size + range.size > maxBytes) return false;
    size += range.size;
    return true;
  };
  while (tryAdd(last + 1, last)) last++;
  while (tryAdd(first - 1, first)) first--;
  return { first, last, size };
}
