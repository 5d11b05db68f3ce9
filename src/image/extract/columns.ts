import type { NativeSource, TreeParcel } from '../../native/binding';

/** In the order of `sys::TreeEntry::Kind`. */
const kinds = ['file', 'dir', 'symlink', 'hardlink', 'char', 'block', 'fifo', 'socket'] as const;

/** What is to be made. Path, target and names of xattrs are byte strings: one character (0–255) a byte. */
export interface ExtractEntry {
  kind: (typeof kinds)[number];
  /** From the folder that is filled, without a slash in front; empty: that folder itself. */
  path: string;
  /** A symbolic link's text; the path that a hard link is another name of (it has nothing else). */
  target: string;
  mode: number;
  uid: number;
  gid: number;
  seconds: number;
  nanoseconds: number;
  major: number;
  minor: number;
  xattrs: readonly { name: string; value: Uint8Array }[];
  /** Of a file. Its pieces may come with several entries, one after the other; what no piece covers is a hole. */
  size: number;
  begins: boolean;
  ends: boolean;
}

const fixedNumbers = 14;
const endsNumber = 12;
const numbersOfXattr = 2;
const numbersOfPiece = 4;
const noBytes = Buffer.alloc(0);

/**
 * Entries as columns, which `binding::TreeParcel` takes apart: as objects, hundreds of thousands of them would cost more on their way to
 * native code than the files themselves.
 */
export class EntryColumns {
  /** Entries so far. */
  count = 0;
  private numbers = new Float64Array(2048);
  private used = 0;
  private text = Buffer.allocUnsafe(16 << 10);
  private textUsed = 0;
  private readonly sources: NativeSource[] = [];
  private readonly buffers: Uint8Array[] = [];
  /** Where the latest entry begins, and where the number of its pieces stands. */
  private latest = 0;
  private pieceCount = 0;

  add(entry: ExtractEntry): void {
    const { path, target, xattrs } = entry;
    this.reserve(fixedNumbers);
    this.latest = this.used;
    this.push(kinds.indexOf(entry.kind));
    this.push(path.length);
    this.push(target.length);
    this.push(entry.mode);
    this.push(entry.uid);
    this.push(entry.gid);
    this.push(entry.seconds);
    this.push(entry.nanoseconds);
    this.push(entry.major);
    this.push(entry.minor);
    this.push(entry.size);
    this.push(Number(entry.begins));
    this.push(Number(entry.ends));
    this.push(xattrs.length);
    this.pushText(path);
    this.pushText(target);
    for (const { name, value } of xattrs) this.addXattr(name, value);
    this.reserve(1);
    this.pieceCount = this.used;
    this.push(0);
    this.count++;
  }

  /** The latest entry goes on in another parcel. */
  leaveOpen(): void {
    this.numbers[this.latest + endsNumber] = 0;
  }

  /** Of the latest entry: `length` bytes of `source` from `address`, for its bytes from `offset`. */
  addPiece(offset: number, source: NativeSource, address: number, length: number): void {
    let index = this.sources.indexOf(source);
    if (index < 0) index = this.sources.push(source) - 1;
    this.pushPiece(index, offset, address, length);
  }

  /** Of the latest entry: bytes from `offset` that come later, by fill() with the result. */
  addBytes(offset: number): number {
    const index = this.buffers.push(noBytes) - 1;
    this.pushPiece(-1 - index, offset, 0, 0);
    return index;
  }

  fill(index: number, bytes: Uint8Array): void {
    this.buffers[index] = bytes;
  }

  /** What native code takes. Nothing may be added any more. */
  parcel(): TreeParcel {
    return {
      numbers: this.numbers.subarray(0, this.used),
      text: this.text.subarray(0, this.textUsed),
      sources: this.sources,
      buffers: this.buffers,
    };
  }

  private addXattr(name: string, value: Uint8Array): void {
    this.reserve(numbersOfXattr);
    this.push(name.length);
    this.push(value.length);
    this.pushText(name);
    this.reserveText(value.length);
    this.text.set(value, this.textUsed);
    this.textUsed += value.length;
  }

  private pushPiece(from: number, offset: number, address: number, length: number): void {
    this.reserve(numbersOfPiece);
    this.push(from);
    this.push(offset);
    this.push(address);
    this.push(length);
    this.numbers[this.pieceCount]!++;
  }

  private push(number: number): void {
    this.numbers[this.used++] = number;
  }

  private pushText(text: string): void {
    this.reserveText(text.length);
    this.textUsed += this.text.write(text, this.textUsed, 'latin1');
  }

  private reserve(count: number): void {
    if (this.used + count <= this.numbers.length) return;
    const larger = new Float64Array(4 * this.numbers.length);
    larger.set(this.numbers);
    this.numbers = larger;
  }

  private reserveText(length: number): void {
    if (this.textUsed + length <= this.text.length) return;
    const larger = Buffer.allocUnsafe(4 * this.text.length + length);
    larger.set(this.text.subarray(0, this.textUsed));
    this.text = larger;
  }
}
