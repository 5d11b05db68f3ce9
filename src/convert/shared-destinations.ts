/** What is written to, and how that ends. */
interface Endable {
  close(): Promise<void>;
  abort(): Promise<void>;
}

/** A destination in use by one conversion; exactly one of close() and abort() ends that. */
interface DestinationLease<T> extends Endable {
  /** Several leases may have the same one: end the lease, not this. */
  target: T;
}

interface Shared {
  target: Promise<Endable>;
  users: number;
  /** Whether one of its users has closed it, so that there is something to keep. */
  isUsed: boolean;
  ending: Promise<void> | null;
}

/** Destinations that are opened once for all that use them at the same time, and ended by the last of them. */
export class SharedDestinations {
  private readonly open = new Map<string, Shared>();

  /** The destination called `key`, opened by `open` unless it is. */
  async lease<T extends Endable>(key: string, open: () => Promise<T>): Promise<DestinationLease<T>> {
    for (let old = this.open.get(key); old?.ending != null; old = this.open.get(key)) {
      await old.ending.catch(() => undefined); // its last user hears of that
    }
    const shared = this.open.get(key) ?? { target: open(), users: 0, isUsed: false, ending: null };
    this.open.set(key, shared);
    shared.users++;
    try {
      const target = (await shared.target) as T;
      return {
        target,
        close: () => this.end(key, shared, true),
        abort: () => this.end(key, shared, false),
      };
    } catch (error) {
      if (this.open.get(key) === shared) this.open.delete(key);
      throw error;
    }
  }

  private async end(key: string, shared: Shared, isUsed: boolean): Promise<void> {
    shared.isUsed ||= isUsed;
    if (--shared.users > 0) return;
    const target = await shared.target;
    shared.ending = shared.isUsed ? target.close() : target.abort();
    try {
      await shared.ending;
    } finally {
      this.open.delete(key);
    }
  }
}
