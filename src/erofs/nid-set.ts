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
