/** Decoded extents, by where they begin: the most recent ones that fit into `capacity` bytes, and always the last. */
export class ExtentCache {
  readonly #extents = new Map<number, { size: number; bytes: Promise<Buffer> }>();
  #size = 0;

  constructor(private readonly capacity: number) {}

  has(start: number): boolean {
    return this.#extents.has(start);
  }

  /** The extent at `start`, from `decode` if it is not here. Readers of one extent at one time share one decoding. */
  get(start: number, size: number, decode: () => Promise<Buffer>): Promise<Buffer> {
    const known = this.#extents.get(start);
    if (known !== undefined) {
      this.#extents.delete(start);
      this.#extents.set(start, known); // now the most recent
      return known.bytes;
    }
    const bytes = decode();
    const extent = { size, bytes };
    this.#extents.set(start, extent);
    this.#size += size;
    bytes.catch(() => {
      if (this.#extents.get(start) === extent) this.#drop(start); // the next reader tries again
    });
    this.#evict();
    return bytes;
  }

  #evict(): void {
    for (const start of this.#extents.keys()) {
      if (this.#size <= this.capacity || this.#extents.size === 1) return;
      this.#drop(start);
    }
  }

  #drop(start: number): void {
    this.#size -= this.#extents.get(start)?.size ?? 0;
    this.#extents.delete(start);
  }
}
