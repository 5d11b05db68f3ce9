import type { CompressedContext, CompressedInode } from './context';
import { IndexWindow } from './index-window';
import { blockCountBit, lclusterType, type Lcluster, type LclusterIndex } from './lcluster';
import { corrupt } from './limits';
import type { ClusterHeader } from './map-header';

/** Some entries, bit-packed, and the block that theirs count from. */
interface Pack {
  bytes: Buffer;
  entries: number;
  /** Of each entry: a value of `valueBits` bits, then a type of 2. */
  entryBits: number;
  valueBits: number;
  end: number;
}

interface Place {
  offset: number;
  size: number;
  entries: number;
  /** Which entry of the pack. */
  index: number;
}

const baseSize = 4;

/** The index of layout 3: packs of 2 entries in 8 bytes, and of 16 in 32 bytes between them. */
export class CompactIndex implements LclusterIndex {
  readonly #window: IndexWindow;
  /** Entries in front of the packs of 16, which begin at a multiple of 32 bytes, and in them. */
  readonly #initial: number;
  readonly #inLargePacks: number;

  constructor(
    private readonly context: CompressedContext,
    private readonly inode: CompressedInode,
    private readonly header: ClusterHeader,
  ) {
    const total = Math.ceil(inode.size / context.blockSize);
    this.#initial = ((32 - (header.indexStart % 32)) / 4) & 7;
    const rest = header.compact2B ? Math.max(0, total - this.#initial) : 0;
    this.#inLargePacks = rest - (rest % 16);
    if (header.lclusterBits > (this.#inLargePacks > 0 ? 12 : 14)) {
      throw corrupt(
        context,
        inode,
        `logical clusters of 2^${header.lclusterBits} bytes have no compact index`,
      );
    }
    const last = this.#place(Math.ceil(inode.size / 2 ** header.lclusterBits) - 1);
    this.#window = new IndexWindow(context, header.indexStart, last.offset + last.size);
  }

  async load(number: number): Promise<Lcluster> {
    const { offset, size, entries, index } = this.#place(number);
    const bytes = (await this.#window.from(offset)).subarray(0, size);
    const entryBits = ((size - baseSize) * 8) / entries;
    const valueBits = Math.max(this.header.lclusterBits, 12);
    const pack: Pack = { bytes, entries, entryBits, valueBits, end: offset + size };
    const [type, value] = entryOf(pack, index);
    return type === lclusterType.nonhead
      ? nonhead(pack, index, value)
      : {
          type,
          clusterOffset: value,
          block: this.#blockOf(pack, index),
          partial: false,
          distance: 0,
          blocks: 0,
          end: pack.end,
        };
  }

  #place(number: number): Place {
    const { indexStart } = this.header;
    const large = number - this.#initial;
    if (large < 0) return placeIn(indexStart, number, 2, 8);
    const largeStart = indexStart + this.#initial * 4;
    if (large < this.#inLargePacks) return placeIn(largeStart, large, 16, 32);
    return placeIn(largeStart + this.#inLargePacks * 2, large - this.#inLargePacks, 2, 8);
  }

  /** The first block of the extent that begins in entry `index`: those of the heads before it come first. */
  #blockOf(pack: Pack, index: number): number {
    const blocks = this.header.big[0] ? this.#blocksBefore(pack, index) : 1 + headsBefore(pack, index);
    return (pack.bytes.readUInt32LE(pack.bytes.length - baseSize) + blocks) >>> 0;
  }

  #blocksBefore(pack: Pack, index: number): number {
    let blocks = 0;
    for (let at = index - 1; at >= 0; --at) {
      const [type, value] = entryOf(pack, at);
      if (type !== lclusterType.nonhead) {
        blocks += 1; // a head without a count has one block
      } else if ((value & blockCountBit) !== 0) {
        blocks += value & ~blockCountBit;
        at -= 1; // and its head
      } else if (value <= 1) {
        throw corrupt(this.context, this.inode, `the pack that ends at byte ${pack.end} lacks a block count`);
      } else {
        at -= value - 2; // to just after the entry that holds the count
      }
    }
    return blocks;
  }
}

/** Entry `number` of packs that begin at `start`. */
function placeIn(start: number, number: number, entries: number, size: number): Place {
  const index = number % entries;
  return { offset: start + ((number - index) / entries) * size, size, entries, index };
}

/** Type and value of an entry. */
function entryOf({ bytes, entryBits, valueBits }: Pack, index: number): [number, number] {
  const bit = index * entryBits;
  const word = bytes.readUInt32LE(bit >> 3) >>> (bit & 7);
  return [(word >>> valueBits) & 3, word & ((1 << valueBits) - 1)];
}

function headsBefore(pack: Pack, index: number): number {
  let heads = 0;
  for (let at = index - 1; at >= 0; --at) {
    const [type, value] = entryOf(pack, at);
    if (type === lclusterType.nonhead) at -= value;
    if (at >= 0) heads += 1;
  }
  return heads;
}

function nonhead(pack: Pack, index: number, value: number): Lcluster {
  const entry = { type: lclusterType.nonhead, clusterOffset: 0, block: 0, partial: false, end: pack.end };
  const hasBlocks = (value & blockCountBit) !== 0;
  if (hasBlocks) return { ...entry, distance: 1, blocks: value & ~blockCountBit };
  if (index + 1 < pack.entries) return { ...entry, distance: value, blocks: 0 };
  // The last entry of a pack holds the distance to the next head instead: count from the entry before.
  const [typeBefore, before] = entryOf(pack, index - 1);
  const toBefore = (before & blockCountBit) !== 0 ? 1 : before;
  return { ...entry, distance: (typeBefore === lclusterType.nonhead ? toBefore : 0) + 1, blocks: 0 };
}
