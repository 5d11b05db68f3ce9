import { NameHash } from './name-hash';
import { words } from './columns';

/** Slots of the smallest table; a power of two, as all are. */
const minSlots = 1024;

/** Finds numbers by names in folders: an open hash table of the numbers alone, 4 to 10 bytes for each. Names are kept elsewhere. */
export class NameTable {
  private slots = new Uint32Array(minSlots);
  private used = 0;
  private readonly hashes = words();
  private readonly hash = new NameHash();

  /** `has` tells whether a number (above 0) is that of this name. */
  constructor(private readonly has: (number: number, folder: number, name: string) => boolean) {}

  /** 0 when the name has none. */
  find(folder: number, name: string): number {
    return this.slots[this.slotOf(this.hash.of(folder, name), folder, name)]!;
  }

  /** Gives a name a number, in the place of the one that it had, which is returned; 0 when it had none. */
  set(folder: number, name: string, number: number): number {
    const hash = this.hash.of(folder, name);
    const slot = this.slotOf(hash, folder, name);
    const replaced = this.slots[slot]!;
    this.slots[slot] = number;
    this.hashes.set(number, hash);
    if (replaced === 0 && ++this.used * 4 > this.slots.length * 3) this.grow();
    return replaced;
  }

  /** Of the name, or a free one for it. */
  private slotOf(hash: number, folder: number, name: string): number {
    const { slots, hashes } = this;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = slots[slot]!;
      if (number === 0 || (hashes.get(number) === hash && this.has(number, folder, name))) return slot;
    }
  }

  private grow(): void {
    const { slots } = this;
    const larger = new Uint32Array(2 * slots.length);
    const mask = larger.length - 1;
    for (const number of slots) {
      if (number === 0) continue;
      let slot = this.hashes.get(number) & mask;
      while (larger[slot] !== 0) slot = (slot + 1) & mask;
      larger[slot] = number;
    }
    this.slots = larger;
  }
}
