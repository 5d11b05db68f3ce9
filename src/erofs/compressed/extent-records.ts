import type { CompressedContext, CompressedInode } from './context';
import {
  checkedExtent,
  formatOf,
  type Extent,
  type ExtentMap,
  type ExtentSource,
  type Format,
} from './extent';
import { IndexWindow } from './index-window';
import { corrupt } from './limits';
import { fragmentOffset, type ExtentHeader } from './map-header';

const lengthMask = 2 ** 21 - 1;
const partialBit = 1 << 27;
const formatShift = 28;

/** What a record says, and what part of the file it is about. */
interface Record {
  start: number;
  end: number;
  isLast: boolean;
  /** Stored length and flags; the low half of a fragment's offset. */
  word: number;
  /** Where the bytes lie; the high half of a fragment's offset. */
  physical: number;
}

/** Turns the record that covers a byte into an extent. Both forms of extent records share it. */
abstract class RecordExtents implements ExtentMap {
  constructor(
    protected readonly context: CompressedContext,
    protected readonly inode: CompressedInode,
    protected readonly header: ExtentHeader,
  ) {}

  protected abstract recordAt(position: number): Promise<Record>;

  async extentAt(position: number): Promise<Extent> {
    const record = await this.recordAt(position);
    const { start, end } = record;
    return checkedExtent(this.context, this.inode, { start, end, source: this.#source(record) });
  }

  #source({ word, physical, isLast }: Record): ExtentSource {
    if (isLast && this.header.fragmentTail) {
      const high = this.header.recordSize > 4 ? physical : 0;
      return { kind: 'fragment', offset: fragmentOffset(this.context, this.inode, word, high) };
    }
    const length = word & lengthMask;
    if (length === 0) return { kind: 'hole' };
    return {
      kind: 'encoded',
      area: 'data',
      offset: physical,
      length,
      format: this.#format(word >>> formatShift, physical, length),
      partial: (word & partialBit) !== 0,
    };
  }

  #format(number: number, physical: number, length: number): Format {
    if (number > 0) return formatOf(this.context, this.inode, number - 1);
    const { blockSize } = this.context;
    const isAligned = physical % blockSize === 0 && length % blockSize === 0;
    return this.header.interlaced && isAligned ? 'interlaced' : 'plain';
  }
}

/** Records of 16 or 32 bytes, in the order of where their extents begin. */
export class SortedRecords extends RecordExtents {
  readonly #window: IndexWindow;

  constructor(context: CompressedContext, inode: CompressedInode, header: ExtentHeader) {
    super(context, inode, header);
    const { recordStart, recordSize, count } = header;
    this.#window = new IndexWindow(context, recordStart, recordStart + count * recordSize);
  }

  protected async recordAt(position: number): Promise<Record> {
    let [low, high] = [0, this.header.count];
    let end = this.inode.size;
    let found: Record | undefined;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const record = await this.#load(middle);
      if (record.start <= position) {
        found = record;
        low = middle + 1;
      } else {
        if (record.start > end) throw corrupt(this.context, this.inode, 'its extents are not in order');
        end = record.start;
        high = middle;
      }
    }
    const isLast = low >= this.header.count;
    if (found === undefined) return { start: 0, end, isLast, word: 0, physical: 0 };
    return { ...found, end, isLast };
  }

  async #load(number: number): Promise<Record> {
    const { recordStart, recordSize } = this.header;
    const bytes = await this.#window.from(recordStart + number * recordSize);
    const high = recordSize === 32 ? bytes.readUInt32LE(16) : 0;
    return {
      start: high * 2 ** 32 + bytes.readUInt32LE(12),
      end: 0,
      isLast: false,
      word: bytes.readUInt32LE(0),
      physical: bytes.readUInt32LE(8) * 2 ** 32 + bytes.readUInt32LE(4),
    };
  }
}

/** Records of 4 or 8 bytes, one for each logical cluster. Those of 4 bytes lie one after the other in the data, too. */
export class EvenRecords extends RecordExtents {
  readonly #window: IndexWindow;
  readonly #lclusterSize: number;
  readonly #firstRecord: number;
  /** With records of 4 bytes: where each 1024th extent's bytes lie, as far as needed. */
  readonly #places: number[] = [];

  constructor(context: CompressedContext, inode: CompressedInode, header: ExtentHeader) {
    super(context, inode, header);
    const { recordStart, recordSize, lclusterBits } = header;
    this.#lclusterSize = 2 ** lclusterBits;
    this.#firstRecord = recordStart + (recordSize === 4 ? 8 : 0);
    const count = Math.ceil(inode.size / this.#lclusterSize);
    this.#window = new IndexWindow(context, recordStart, this.#firstRecord + count * recordSize);
  }

  protected async recordAt(position: number): Promise<Record> {
    const { recordSize } = this.header;
    const number = Math.floor(position / this.#lclusterSize);
    const bytes = await this.#window.from(this.#firstRecord + number * recordSize);
    const start = number * this.#lclusterSize;
    const next = start + this.#lclusterSize;
    return {
      start,
      end: Math.min(next, this.inode.size),
      isLast: next >= this.inode.size,
      word: bytes.readUInt32LE(0),
      physical: recordSize === 4 ? await this.#sumBefore(number) : bytes.readUInt32LE(4),
    };
  }

  async #sumBefore(number: number): Promise<number> {
    if (this.#places.length === 0) {
      const first = (await this.#window.from(this.header.recordStart)).readBigUInt64LE(0);
      this.#places[0] = Number(first);
    }
    const group = Math.floor(number / 1024);
    for (let known = this.#places.length - 1; known < group; ++known) {
      this.#places[known + 1] = await this.#sum(this.#places[known]!, known * 1024, 1024);
    }
    return this.#sum(this.#places[group]!, group * 1024, number % 1024);
  }

  /** `place`, plus the stored lengths of `count` records from `first` on. */
  async #sum(place: number, first: number, count: number): Promise<number> {
    let sum = place;
    for (let done = 0; done < count;) {
      const bytes = await this.#window.from(this.#firstRecord + (first + done) * 4);
      const here = Math.min(count - done, bytes.length >> 2);
      for (let index = 0; index < here; ++index) sum += bytes.readUInt32LE(index * 4) & lengthMask;
      done += here;
    }
    return sum;
  }
}
