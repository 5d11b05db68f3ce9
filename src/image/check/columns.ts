/** Large pages come from the system by themselves, and don't break up the memory that others come from. */
const pageBits = 16;
const pageLength = 2 ** pageBits;
const indexMask = pageLength - 1;

/** A number for each entry, 0 until it is set. It grows page by page: nothing is copied, and pages without a number take no memory. */
class Column<A extends Uint8Array | Uint32Array> {
  private readonly pages: (A | undefined)[] = [];

  constructor(private readonly make: (length: number) => A) {}

  get(index: number): number {
    const page = this.pages[index >>> pageBits];
    return page === undefined ? 0 : page[index & indexMask]!;
  }

  set(index: number, value: number): void {
    const at = index >>> pageBits;
    while (this.pages.length <= at) this.pages.push(undefined);
    const page = (this.pages[at] ??= this.make(pageLength));
    page[index & indexMask] = value;
  }
}

export const bytes = (): Column<Uint8Array> => new Column((length) => new Uint8Array(length));
export const words = (): Column<Uint32Array> => new Column((length) => new Uint32Array(length));
