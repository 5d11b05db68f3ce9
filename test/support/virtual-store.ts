import type { Clock } from '../../src/service/clock';
import type { Claim, LeaseStore, SharedRate } from '../../src/service/lease-store';

interface Sleeper {
  time: number;
  wake: () => void;
}

/** Time that passes when everybody waits for it: a day of a fleet takes seconds. */
export class VirtualClock implements Clock {
  private time = 0;
  private readonly sleepers: Sleeper[] = [];
  private seed: number;

  constructor(seed = 1) {
    this.seed = seed;
  }

  now(): number {
    return this.time;
  }

  /** The same numbers in every run. */
  random(): number {
    this.seed = (this.seed * 48_271) % 2_147_483_647;
    return this.seed / 2_147_483_647;
  }

  sleep(time: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { time: this.time + Math.max(0, time), wake: resolve };
      this.push(sleeper);
      signal?.addEventListener(
        'abort',
        () => {
          sleeper.wake = () => undefined;
          reject(new Error('aborted'));
        },
        { once: true },
      );
    });
  }

  /** Lets time pass until nobody waits any more, or `isOver`. */
  async run(isOver: () => boolean = () => false): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.pop();
      if (next === undefined || isOver()) return;
      this.time = next.time;
      next.wake();
      while (this.sleepers[0]?.time === this.time) this.pop()!.wake();
    }
  }

  private push(sleeper: Sleeper): void {
    let at = this.sleepers.push(sleeper) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.sleepers[parent]!.time <= sleeper.time) break;
      this.sleepers[at] = this.sleepers[parent]!;
      at = parent;
    }
    this.sleepers[at] = sleeper;
  }

  private pop(): Sleeper | undefined {
    const first = this.sleepers[0];
    const last = this.sleepers.pop();
    if (first === undefined || last === undefined || this.sleepers.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.sleepers.length) break;
      if ((this.sleepers[child + 1]?.time ?? Infinity) < this.sleepers[child]!.time) child++;
      if (this.sleepers[child]!.time >= last.time) break;
      this.sleepers[at] = this.sleepers[child]!;
      at = child;
    }
    this.sleepers[at] = last;
    return first;
  }
}

/** What Redis does for leases, in memory and by a clock of its own. */
export class MemoryLeases implements LeaseStore {
  /** Calls, as requests to Redis. */
  calls = 0;
  workers = 1;
  readonly results = new Map<string, string>();
  private readonly leases = new Map<string, { holder: string; until: number }>();
  private readonly buckets = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  async claim(name: string, holder: string, time: number): Promise<Claim> {
    this.calls++;
    const result = this.results.get(name);
    if (result !== undefined) return { state: 'made', result };
    const lease = this.leases.get(name);
    const left = (lease?.until ?? 0) - this.clock.now();
    if (lease !== undefined && left > 0 && lease.holder !== holder) return { state: 'held', left };
    this.leases.set(name, { holder, until: this.clock.now() + time });
    return { state: 'ours' };
  }

  async renew(name: string, holder: string, time: number): Promise<boolean> {
    this.calls++;
    const lease = this.leases.get(name);
    if (lease?.holder !== holder || lease.until <= this.clock.now()) return false;
    lease.until = this.clock.now() + time;
    return true;
  }

  async finish(name: string, holder: string, result: string): Promise<void> {
    this.calls++;
    this.results.set(name, result);
    if (this.leases.get(name)?.holder === holder) this.leases.delete(name);
  }

  async release(name: string, holder: string): Promise<void> {
    this.calls++;
    if (this.leases.get(name)?.holder === holder) this.leases.delete(name);
  }

  async forget(name: string, result: string): Promise<void> {
    this.calls++;
    if (this.results.get(name) === result) this.results.delete(name);
  }

  async reserve(bucket: string, amount: number, { perSecond, burst }: SharedRate) {
    this.calls++;
    const now = this.clock.now();
    const empty = Math.max(now, this.buckets.get(bucket) ?? 0);
    const wait = Math.max(0, empty - (burst * 1000) / perSecond - now);
    this.buckets.set(bucket, empty + (amount * 1000) / perSecond);
    return { wait: Math.ceil(wait), workers: this.workers };
  }
}
