/** Something that is kept for a while. */
export interface Held {
  readonly weight: number;
  /** Called when it is kept no longer. */
  forget(): void;
}

/** Room that caches may share: what was used least recently of all is forgotten as soon as the weights exceed a limit. The very last always stays. */
export class LruSpace {
  /** A Set keeps the order of insertion: the first is the one to forget. */
  private readonly held = new Set<Held>();
  private weight = 0;

  constructor(readonly limit: number) {}

  add(held: Held): void {
    this.held.add(held);
    this.weight += held.weight;
    for (const oldest of this.held) {
      if (this.weight <= this.limit || oldest === held) break;
      this.remove(oldest);
      oldest.forget();
    }
  }

  use(held: Held): void {
    this.held.delete(held);
    this.held.add(held);
  }

  remove(held: Held): void {
    if (this.held.delete(held)) this.weight -= held.weight;
  }
}

/** A map that forgets what was used least recently: of itself, or of all that share its space. */
export class LruMap<K, V> {
  private readonly entries = new Map<K, Held & { value: V }>();
  private readonly space: LruSpace;

  /** @param space what the weights of all values may come to */
  constructor(space: number | LruSpace) {
    this.space = typeof space === 'number' ? new LruSpace(space) : space;
  }

  get(key: K): V | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    this.space.use(entry);
    return entry.value;
  }

  /** Keeps a value; one that is heavier than the limit is not kept. */
  set(key: K, value: V, weight: number): void {
    const known = this.entries.get(key);
    if (known !== undefined) this.space.remove(known);
    this.entries.delete(key);
    if (weight > this.space.limit) return;
    const entry = { value, weight, forget: () => this.entries.delete(key) };
    this.entries.set(key, entry);
    this.space.add(entry);
  }
}
