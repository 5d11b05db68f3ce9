const direntSize = 12;
const slash = 0x2f;
const dot = 0x2e;

/** What directories are refused with. */
type Refuse = (why: string) => Error;

/**
 * The entries of directory data, in order of their names' bytes, without "." and "..". Data is a row of blocks: dirents, then their
 * names. Only positions are kept beside the data, so a million entries stay small.
 */
export class Directory {
  private constructor(
    private readonly data: Buffer,
    private readonly blockSize: number,
    /** Where each entry's dirent lies in the data, and how long its name is. */
    private readonly dirents: Uint32Array,
    private readonly nameLengths: Uint8Array,
  ) {}

  /**
   * Parses whole blocks (the last one may be shorter). Refuses what breaks the format, names with '/' or NUL, empty ones, ones longer than
   * 255 bytes, and a name that is there twice. Unsorted names are sorted: kernels list them, too.
   */
  static parse(data: Buffer, blockSize: number, refuse: Refuse): Directory {
    const parser = new Parser(data, blockSize, refuse);
    parser.run();
    const { dirents, nameLengths, count } = parser;
    const parsed = new Directory(data, blockSize, dirents.subarray(0, count), nameLengths.subarray(0, count));
    return parsed.isSorted() ? parsed : parsed.sorted(refuse);
  }

  get count(): number {
    return this.dirents.length;
  }

  /** A name; a view of the data. */
  name(index: number): Buffer {
    const start = this.nameStart(index);
    return this.data.subarray(start, start + this.nameLengths[index]!);
  }

  /** A name as a byte string: one character (0–255) a byte. */
  text(index: number): string {
    const start = this.nameStart(index);
    return this.data.toString('latin1', start, start + this.nameLengths[index]!);
  }

  nid(index: number): bigint {
    return this.data.readBigUInt64LE(this.dirents[index]);
  }

  /** The number of the entry of that name, else undefined. */
  find(name: Uint8Array): number | undefined {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = Buffer.compare(this.name(middle), name);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  private nameStart(index: number): number {
    const dirent = this.dirents[index]!;
    return dirent - (dirent % this.blockSize) + readU16(this.data, dirent + 8);
  }

  /** Strictly, so nothing is there twice. */
  private isSorted(): boolean {
    for (let index = 1; index < this.count; index++) {
      if (this.compare(index - 1, index) >= 0) return false;
    }
    return true;
  }

  private compare(a: number, b: number): number {
    const { data, nameLengths } = this;
    const [startA, startB] = [this.nameStart(a), this.nameStart(b)];
    const [lengthA, lengthB] = [nameLengths[a]!, nameLengths[b]!];
    const common = Math.min(lengthA, lengthB);
    for (let index = 0; index < common; index++) {
      const difference = data[startA + index]! - data[startB + index]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }

  private sorted(refuse: Refuse): Directory {
    const order = Uint32Array.from(this.dirents.keys()).sort((a, b) => this.compare(a, b));
    const dirents = order.map((index) => this.dirents[index]!);
    const lengths = new Uint8Array(this.count);
    order.forEach((from, to) => (lengths[to] = this.nameLengths[from]!));
    const directory = new Directory(this.data, this.blockSize, dirents, lengths);
    for (let index = 1; index < this.count; index++) {
      if (directory.compare(index - 1, index) === 0) {
        throw refuse(`the name ${JSON.stringify(directory.name(index).toString())} is there twice`);
      }
    }
    return directory;
  }
}

/** Without the checks of Buffer's own, which cost more than the read here; offsets were checked. */
function readU16(data: Buffer, offset: number): number {
  return data[offset]! | (data[offset + 1]! << 8);
}

/** One pass over the blocks of a directory. */
class Parser {
  readonly dirents: Uint32Array;
  readonly nameLengths: Uint8Array;
  count = 0;

  constructor(
    private readonly data: Buffer,
    private readonly blockSize: number,
    private readonly refuse: Refuse,
  ) {
    let dirents = 0;
    for (let start = 0; start < data.length; start += blockSize) dirents += this.direntsOf(start);
    this.dirents = new Uint32Array(dirents);
    this.nameLengths = new Uint8Array(dirents);
  }

  run(): void {
    for (let start = 0; start < this.data.length; start += this.blockSize) this.block(start);
  }

  /** How many dirents a block has: the first one says where the names begin. */
  private direntsOf(start: number): number {
    const { data, blockSize } = this;
    const length = Math.min(blockSize, data.length - start);
    const namesAt = length < direntSize ? 0 : readU16(data, start + 8);
    if (namesAt < direntSize || namesAt >= length || namesAt % direntSize !== 0) {
      throw this.refuse(`the names of its block at ${start} would begin at ${namesAt} of ${length} bytes`);
    }
    return namesAt / direntSize;
  }

  private block(start: number): void {
    const { data } = this;
    const end = Math.min(start + this.blockSize, data.length);
    const dirents = this.direntsOf(start);
    let nameAt = start + dirents * direntSize;
    for (let index = 0; index < dirents; index++) {
      const dirent = start + index * direntSize;
      const last = index === dirents - 1;
      const next = last ? lastNameEnd(data, nameAt, end) : start + readU16(data, dirent + direntSize + 8);
      const length = next - nameAt;
      if (length < 1 || length > 255 || next > end) {
        throw this.refuse(`entry ${index} of its block at ${start} has a name of ${length} bytes`);
      }
      this.keep(dirent, nameAt, length);
      nameAt = next;
    }
  }

  private keep(dirent: number, nameAt: number, length: number): void {
    const { data } = this;
    for (let index = nameAt; index < nameAt + length; index++) {
      const byte = data[index]!;
      if (byte === slash || byte === 0) {
        throw this.refuse(`a name in it has ${byte === 0 ? 'a NUL' : "a '/'"} at ${index}`);
      }
    }
    const dots = data[nameAt] === dot && (length === 1 || (length === 2 && data[nameAt + 1] === dot));
    if (dots) return;
    this.dirents[this.count] = dirent;
    this.nameLengths[this.count] = length;
    this.count++;
  }
}

/** The last name of a block ends at the first NUL, or where the block does. */
function lastNameEnd(data: Buffer, start: number, end: number): number {
  const nul = data.subarray(start, end).indexOf(0);
  return nul < 0 ? end : start + nul;
}
