import { readSync } from 'node:fs';
import { failure, fromSystemError } from '../../errors';
import { spaceGuard } from '../../fs/disk-space';
import { openTemporary, type TemporaryFile } from '../../fs/temporary';
import { writeFully } from '../../fs/write-fully';

const pageSize = 16 << 10; // bytes
/** So many bytes are written together. */
const writtenTogether = 2 << 20;
/** Pages that are kept of those that were read. */
const keptPages = 512;
const prefixSize = 4;
/** Records begin at multiples of this, and are named by which: so a number of 32 bits is enough for 32 GiB. */
const alignment = 8;

/**
 * Records that are appended and read again, in memory that doesn't grow with them: when they are more than a few megabytes, they go to a file
 * without a name. close() it.
 */
export class RecordFile {
  /** Bytes in all records. */
  private size = 0;
  /** Of these, whole pages in the file. */
  private written = 0;
  /** What follows them. */
  private tail = Buffer.alloc(pageSize);
  /** Room for pages that are read: each has one place, which it shares with others. */
  private readonly kept = Buffer.alloc(keptPages * pageSize);
  private readonly keptIndexes = new Int32Array(keptPages).fill(-1);
  private file: TemporaryFile | undefined;
  private checkSpace: (bytes: number) => Promise<void> = () => Promise.resolve();

  constructor(private readonly folder: string | undefined) {}

  /** Keeps a record, and returns its number. UNSUPPORTED beyond 32 GiB of records. */
  append(record: Buffer): number {
    const number = this.size / alignment;
    if (number > 0xffff_ffff)
      throw failure('UNSUPPORTED', 'comparison', 'more than 32 GiB of names and attributes');
    const start = this.size - this.written;
    this.size += Math.ceil((prefixSize + record.length) / alignment) * alignment;
    const needed = this.size - this.written;
    if (needed > this.tail.length) {
      const longer = Buffer.alloc(Math.max(2 * this.tail.length, needed));
      this.tail.copy(longer, 0, 0, start);
      this.tail = longer;
    }
    this.tail.writeUInt32LE(record.length, start);
    record.copy(this.tail, start + prefixSize);
    return number;
  }

  /** The record of a number: a view, not to be written to, and there until the next record is read or appended. */
  read(number: number): Buffer {
    const at = number * alignment;
    return this.bytes(at + prefixSize, this.bytes(at, prefixSize).readUInt32LE(0));
  }

  /** Writes what is too much for memory; to be called now and then while records are appended. NO_SPACE when the disk would get full. */
  async settle(): Promise<void> {
    const pending = this.size - this.written;
    if (pending < writtenTogether) return;
    if (this.file === undefined) {
      this.file = await openTemporary(this.folder);
      this.checkSpace = spaceGuard(this.file.fd, this.file.name);
    }
    const { fd, name } = this.file;
    const full = pending - (pending % pageSize);
    await this.checkSpace(full);
    try {
      await writeFully(fd, this.tail.subarray(0, full), this.written);
    } catch (error) {
      throw fromSystemError(name, error);
    }
    this.tail.copy(this.tail, 0, full, pending);
    this.written += full;
  }

  async close(): Promise<void> {
    await this.file?.close();
  }

  private bytes(at: number, length: number): Buffer {
    if (at >= this.written) return this.tail.subarray(at - this.written, at - this.written + length);
    const start = at % pageSize;
    if (start + length <= pageSize) return this.page((at - start) / pageSize).subarray(start, start + length);
    const gathered = Buffer.allocUnsafe(length);
    for (let done = 0; done < length;) {
      const [from, place] = [at + done, (at + done) % pageSize];
      if (from >= this.written) done += this.tail.copy(gathered, done, from - this.written);
      else done += this.page((from - place) / pageSize).copy(gathered, done, place);
    }
    return gathered;
  }

  private page(index: number): Buffer {
    const place = index % keptPages;
    const bytes = this.kept.subarray(place * pageSize, (place + 1) * pageSize);
    if (this.keptIndexes[place] !== index) {
      this.keptIndexes[place] = -1;
      this.load(index, bytes);
      this.keptIndexes[place] = index;
    }
    return bytes;
  }

  /** At once rather than by a promise: it was written a moment ago, so the system has it in memory. */
  private load(index: number, bytes: Buffer): void {
    const { fd, name } = this.file!;
    try {
      for (let done = 0; done < pageSize;) {
        const count = readSync(fd, bytes, done, pageSize - done, index * pageSize + done);
        if (count === 0) throw failure('IO', name, 'it was cut short');
        done += count;
      }
    } catch (error) {
      throw fromSystemError(name, error);
    }
  }
}
