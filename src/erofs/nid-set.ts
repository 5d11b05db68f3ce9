const pageBits = 15; // inode numbers a page covers: 4 KiB of bits

/** Inode numbers, a bit each: an image has one for every 32 bytes at most, and they lie close together. */
export class NidSet {
  private readonly pages = new Map<bigint, Uint8Array>();

  /** False when it is in the set already. */
  add(nid: bigint): boolean {
    const number = nid >> BigInt(pageBits);
    let page = this.pages.get(number);
    if (page === undefined) {
      page = new Uint8Array(2 ** (pageBits - 3));
      this.pages.set(number, page);
    }
    const bit = Number(BigInt.asUintN(pageBits, nid));
    const mask = 1 << (bit & 7);
    if ((page[bit >> 3]! & mask) !== 0) return false;
    page[bit >> 3]! |= mask;
    return true;
  }
}

const mapPageBits = 10; // inode numbers a page covers: 4 KiB of numbers

/** A number above 0, below 2^32, for each of some inode numbers. */
export class NidMap {
  private readonly pages = new Map<bigint, Uint32Array>();

  get(nid: bigint): number | undefined {
    const page = this.pages.get(nid >> BigInt(mapPageBits));
    const value = page?.[Number(BigInt.asUintN(mapPageBits, nid))];
    return value === 0 ? undefined : value;
  }

  set(nid: bigint, value: number): void {
    const number = nid >> BigInt(mapPageBits);
    let page = this.pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(2 ** mapPageBits);
      this.pages.set(number, page);
    }
    page[Number(BigInt.asUintN(mapPageBits, nid))] = value;
  }
}
