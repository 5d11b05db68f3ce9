import { isLargeFrame } from './layer-chunks';

/** Why a chunk is fetched, the most urgent first: a reader waits; a recorded run wanted it; a reader will want it; some day. */
const urgencies = ['demand', 'prefetch', 'ahead', 'background'] as const;
export type Urgency = (typeof urgencies)[number];

export function isMoreUrgent(one: Urgency, other: Urgency): boolean {
  return urgencies.indexOf(one) < urgencies.indexOf(other);
}

/** Stored bytes of one request that a reader waits for, its own chunk aside: later ones come with the next requests. */
const maxDemandJoin = 1 << 20;
/** Of any other request. */
const maxJoin = 4 << 20;
/** Stored bytes of one request that are in memory at once: of a longer one, what came is worked on before more is taken. */
export const maxInMemory = maxJoin;
/** Stored bytes that may be under way at once, over all layers: what bounds the memory of the server. What nobody waits for has half of them. */
const maxBytesUnderWay = 32 << 20;

/** What is counted of a frame that is not held in memory: what is under way of it. */
const largeFrameHeld = 1 << 20;

/** What the queue fetches from. */
export interface FetchTarget {
  /** Where chunk `chunk` lies in the blob as stored. */
  rangeOf(chunk: number): { offset: number; size: number };
  /**
   * Chunks that lie behind each other in the blob in this order may be fetched together, `last` included. `settled` is called for each whose
   * fate is known before the promise settles, at the same time as those who wait for it are told: it can be asked for again from then on.
   */
  fetch(first: number, last: number, urgency: Urgency, settled: (chunk: number) => void): Promise<void>;
}

interface Wanted {
  queue: Queue;
  chunk: number;
  urgency: number;
  /** The chunks up to this one are one run with it. */
  runEnd: number;
}

interface Queue {
  target: FetchTarget;
  wanted: Map<number, Wanted>;
  running: Set<number>;
}

/** What is wanted equally urgently, in the order of asking. Entries that are not wanted any more are passed over when they come up. */
class Line {
  private entries: Wanted[] = [];
  private first = 0;

  push(wanted: Wanted): void {
    this.entries.push(wanted);
  }

  /** The first that is still wanted; it stays. */
  peek(): Wanted | null {
    for (; this.first < this.entries.length; this.first++) {
      const wanted = this.entries[this.first]!;
      if (wanted.queue.wanted.get(wanted.chunk) === wanted) return wanted;
    }
    this.entries = [];
    this.first = 0;
    return null;
  }
}

/** How much is fetched at once. */
interface FetchLimits {
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
  private readonly lines = urgencies.map(() => new Line());
  private requests = 0;
  private bytes = 0;
  /** Of them, what nobody waits for. */
  private unhurried = { requests: 0, bytes: 0 };
  private backgroundAt = 0;
  private timer: NodeJS.Timeout | null = null;
  private isScheduled = false;

  constructor(private readonly limits: FetchLimits) {}

  /**
   * Asks for a chunk; a chunk that is asked for already becomes as urgent as this. Nothing happens in this turn of the event loop.
   * @param runEnd the chunks from this one to that, which is not among them, are read in their order: what is wanted of them comes in one
   * request, however much it is
   */
  want(target: FetchTarget, chunk: number, urgency: Urgency, runEnd = chunk + 1): void {
    const queue = this.queueOf(target);
    if (queue.running.has(chunk)) return;
    const level = urgencies.indexOf(urgency);
    const known = queue.wanted.get(chunk);
    if (known !== undefined && known.urgency <= level) return;
    const wanted = { queue, chunk, urgency: level, runEnd: Math.max(runEnd, known?.runEnd ?? 0) };
    queue.wanted.set(chunk, wanted);
    this.lines[level]!.push(wanted);
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

  /** How many chunks are asked for or under way. */
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
    const urgency = urgencies[next.urgency]!;
    const isDemand = urgency === 'demand';
    const range = joined(next, isDemand ? maxDemandJoin : maxJoin);
    const held = isLargeFrame(range.size) ? largeFrameHeld : range.size;
    if (!this.hasRoom(held, isDemand)) return false;
    if (urgency === 'background' && !this.mayRunInBackground(range.size)) return false;
    void this.run(next.queue, { ...range, held, urgency });
    return true;
  }

  private hasRoom(size: number, isDemand: boolean): boolean {
    if (this.bytes + size > maxBytesUnderWay) return false;
    const { requests, bytes } = this.unhurried;
    if (isDemand || requests === 0) return true;
    return requests < Math.ceil(this.limits.requests / 2) && bytes + size <= maxBytesUnderWay / 2;
  }

  private mostUrgent(): Wanted | null {
    for (const line of this.lines) {
      const wanted = line.peek();
      if (wanted !== null) return wanted;
    }
    return null;
  }

  private async run(
    queue: Queue,
    { first, last, held, urgency }: { first: number; last: number; held: number; urgency: Urgency },
  ): Promise<void> {
    // A chunk that was settled may be under way again, in another request.
    const open = new Set<number>();
    for (let chunk = first; chunk <= last; chunk++) {
      queue.wanted.delete(chunk);
      queue.running.add(chunk);
      open.add(chunk);
    }
    this.count(1, held, urgency);
    const settled = (chunk: number): void => {
      if (open.delete(chunk)) queue.running.delete(chunk);
    };
    try {
      await queue.target.fetch(first, last, urgency, settled);
    } finally {
      for (const chunk of open) settled(chunk);
      this.count(-1, -held, urgency);
      this.drop(queue);
      this.schedule();
    }
  }

  private count(requests: number, bytes: number, urgency: Urgency): void {
    this.requests += requests;
    this.bytes += bytes;
    if (urgency === 'demand') return;
    this.unhurried.requests += requests;
    this.unhurried.bytes += bytes;
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

/**
 * The chunk and its wanted neighbours, those after it first: the rest of its run, and as many as `maxBytes` of the blob hold, or the chunk
 * alone. Before it come only those that are as urgent: it would have to wait for them. `size` is what is in memory at once.
 */
function joined({ queue: { target, wanted }, chunk, urgency }: Wanted, maxBytes: number) {
  let [first, last] = [chunk, chunk];
  let { size } = target.rangeOf(chunk);
  const tryAdd = (neighbour: number, edge: number, leastUrgency: number): boolean => {
    if ((wanted.get(neighbour)?.urgency ?? Infinity) > leastUrgency) return false;
    const [range, at] = [target.rangeOf(neighbour), target.rangeOf(edge)];
    const isNext =
      neighbour > edge ? at.offset + at.size === range.offset : range.offset + range.size === at.offset;
    const isRun = neighbour > edge && neighbour < wanted.get(edge)!.runEnd;
    if (!isNext || isLargeFrame(range.size) || isLargeFrame(at.size)) return false;
    if (!isRun && size + range.size > maxBytes) return false;
    size = isRun ? Math.max(range.size, Math.min(size + range.size, maxInMemory)) : size + range.size;
    return true;
  };
  while (tryAdd(last + 1, last, urgencies.length)) last++;
  while (tryAdd(first - 1, first, urgency)) first--;
  return { first, last, size };
}
