import type { CompressedContext, CompressedInode } from './context';
import { checkedExtent, formatOf, type Extent, type ExtentMap, type ExtentSource } from './extent';
import { lclusterType, type Lcluster, type LclusterIndex } from './lcluster';
import { corrupt, maxDecoded } from './limits';
import { fragmentOffset, type ClusterHeader } from './map-header';

/** More steps back than any file needs: a step covers up to 2047 logical clusters. */
const maxSteps = 32768;

/** A head, and where it is. */
interface Head extends Lcluster {
  number: number;
  /** Where in the file its extent begins. */
  start: number;
}

/** The last extent of a file, where it is an inline or a fragment one. */
interface Tail {
  head: Head;
  source: { kind: 'fragment'; offset: number } | { kind: 'inline'; offset: number };
}

/**
 * Extents of a file that an index of logical clusters describes: one runs from its head to the next head, or to the end
 * of the file.
 */
export class ClusterExtents implements ExtentMap {
  readonly #lclusterSize: number;
  readonly #count: number;
  #tail: Promise<Tail | undefined> | undefined;

  constructor(
    private readonly context: CompressedContext,
    private readonly inode: CompressedInode,
    private readonly header: ClusterHeader,
    private readonly index: LclusterIndex,
  ) {
    this.#lclusterSize = 2 ** header.lclusterBits;
    this.#count = Math.ceil(inode.size / this.#lclusterSize);
  }

  async extentAt(position: number): Promise<Extent> {
    const { size } = this.inode;
    const tail = await this.#findTail();
    if (tail?.source.kind === 'fragment' && position >= tail.head.start) {
      return { start: tail.head.start, end: size, source: tail.source };
    }
    const head = await this.#headOf(position);
    const next = await this.#nextStart(head);
    const end = Math.min(next ?? size, size);
    if (end <= position) throw this.#corrupt(`no extent holds byte ${position}`);
    const source = await this.#source(head, tail, head.partial || next === undefined);
    return checkedExtent(this.context, this.inode, { start: head.start, end, source });
  }

  #corrupt(why: string): Error {
    return corrupt(this.context, this.inode, why);
  }

  async #load(number: number): Promise<Lcluster> {
    const { big } = this.header;
    const entry = await this.index.load(number);
    if (entry.type === lclusterType.nonhead) {
      if (entry.blocks === 0 || big[0] || big[1]) return entry;
      throw this.#corrupt(`logical cluster ${number} counts blocks, where each extent has one`);
    }
    if (entry.clusterOffset < this.#lclusterSize) return entry;
    throw this.#corrupt(`the head in logical cluster ${number} lies beyond it`);
  }

  /** The head of the extent that holds byte `position`. */
  async #headOf(position: number): Promise<Head> {
    let number = Math.floor(position / this.#lclusterSize);
    let entry = await this.#load(number);
    let distance = entry.distance;
    if (entry.type !== lclusterType.nonhead) {
      const start = number * this.#lclusterSize + entry.clusterOffset;
      if (start <= position) return { ...entry, number, start };
      distance = 1; // the extent that ends here
    }
    for (let steps = 0; steps < maxSteps; ++steps) {
      if (distance === 0 || distance > number) {
        throw this.#corrupt(`logical cluster ${number} is ${distance} clusters from its head`);
      }
      number -= distance;
      entry = await this.#load(number);
      if (entry.type !== lclusterType.nonhead) {
        return { ...entry, number, start: number * this.#lclusterSize + entry.clusterOffset };
      }
      distance = entry.distance;
    }
    throw this.#corrupt(`no head is found for byte ${position}`);
  }

  /** Where the next extent begins; undefined if the file ends first. */
  async #nextStart(head: Head): Promise<number | undefined> {
    const last = Math.floor((head.start + maxDecoded) / this.#lclusterSize) + 1;
    for (let number = head.number + 1; number < this.#count; ++number) {
      if (number > last)
        throw this.#corrupt(`the extent at byte ${head.start} is longer than ${maxDecoded} bytes`);
      const { type, clusterOffset } = await this.#load(number);
      if (type !== lclusterType.nonhead) return number * this.#lclusterSize + clusterOffset;
    }
    return undefined;
  }

  async #source(head: Head, tail: Tail | undefined, partial: boolean): Promise<ExtentSource> {
    const format = this.#format(head);
    if (tail?.source.kind === 'inline' && tail.head.number === head.number) {
      const { offset } = tail.source;
      return { kind: 'encoded', area: 'metadata', offset, length: this.header.inlineTail, format, partial };
    }
    const { blockSize } = this.context;
    const length = (await this.#blocks(head)) * blockSize;
    return { kind: 'encoded', area: 'data', offset: head.block * blockSize, length, format, partial };
  }

  #format({ type }: Head): ReturnType<typeof formatOf> {
    const { algorithms, interlaced } = this.header;
    if (type === lclusterType.plain) return interlaced ? 'interlaced' : 'plain';
    return formatOf(this.context, this.inode, algorithms[type === lclusterType.head1 ? 0 : 1]);
  }

  /** Blocks of a physical cluster: what the logical cluster after its head says, if it continues the extent. */
  async #blocks(head: Head): Promise<number> {
    const isBig = this.header.big[head.type === lclusterType.head1 ? 0 : 1];
    if (!isBig || head.number + 1 >= this.#count) return 1;
    const next = await this.#load(head.number + 1);
    if (next.type !== lclusterType.nonhead) return 1;
    if (next.distance === 1 && next.blocks > 0) return next.blocks;
    throw this.#corrupt(`logical cluster ${head.number + 1} lacks the number of blocks of its extent`);
  }

  #findTail(): Promise<Tail | undefined> {
    this.#tail ??= this.#readTail();
    this.#tail.catch(() => (this.#tail = undefined)); // the next reader tries again
    return this.#tail;
  }

  async #readTail(): Promise<Tail | undefined> {
    const { fragmentTail, inlineTail } = this.header;
    if (fragmentTail === undefined && inlineTail === 0) return undefined;
    const head = await this.#headOf(this.inode.size - 1);
    if (fragmentTail === undefined) {
      const { end } = await this.#load(this.#count - 1); // the bytes follow the index
      return { head, source: { kind: 'inline', offset: this.#inlineOffset(end) } };
    }
    const high = this.inode.layout === 'full' ? head.block : 0;
    const offset = fragmentOffset(this.context, this.inode, fragmentTail, high);
    // A tail that begins in the first logical cluster is the whole file.
    return { head: head.number === 0 ? { ...head, start: 0 } : head, source: { kind: 'fragment', offset } };
  }

  #inlineOffset(offset: number): number {
    const { blockSize } = this.context;
    if ((offset % blockSize) + this.header.inlineTail <= blockSize) return offset;
    throw this.#corrupt(`its ${this.header.inlineTail} inline bytes at ${offset} cross a block's end`);
  }
}
