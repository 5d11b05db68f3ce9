import { ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { fromSystemError } from '../../errors';
import { readChunks } from '../../fs/fd-chunks';
import type { TemporaryFile } from '../../fs/temporary';
import type { ArrivingBlob } from '../../oci/store';
import { checkRange } from '../../source/range';

type Listener = (size: number | null) => void;

/** A blob that is being fetched, in order, into a file without a name. */
export class ArrivingFile implements ArrivingBlob {
  readonly offset = 0;
  readonly arrival: Promise<void>;
  isLetGo = false;
  private arrived: number | null = 0;
  private readonly listeners = new Set<Listener>();
  private readonly stopping = new AbortController();

  /** @param fetch fills the file, and says after each piece how many bytes it has. */
  constructor(
    private readonly file: TemporaryFile,
    readonly name: string,
    readonly size: number,
    fetch: (onArrived: (size: number) => void, signal: AbortSignal) => Promise<void>,
  ) {
    this.arrival = fetch((size) => {
      this.tell(size);
    }, this.stopping.signal);
    this.arrival.catch(() => {
      this.tell(null);
    });
  }

  get fd(): number {
    return this.file.fd;
  }

  onArrival(listener: Listener): void {
    listener(this.arrived);
    this.listeners.add(listener);
  }

  /** Ends when the first byte is there: a blob that can't be had is not on its way. @throws why it is not */
  async begun(): Promise<void> {
    await Promise.race([this.arrival, this.reached(1)]);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(this, offset, length);
    const end = offset + length;
    await Promise.race([this.arrival, this.reached(end)]);
    const pieces: Buffer[] = [];
    for await (const piece of readChunks(this.fd, end, this.name, offset)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async letGo(): Promise<void> {
    await this.arrival;
    this.isLetGo = true;
    try {
      await promisify(ftruncate)(this.fd, 0);
    } catch (error) {
      throw fromSystemError(this.name, error);
    }
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.arrival.catch(() => undefined);
    await this.file.close();
  }

  private async reached(end: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const listener: Listener = (size) => {
        if (size === null || size < end) return;
        this.listeners.delete(listener);
        resolve();
      };
      this.onArrival(listener);
      if (this.arrived !== null && this.arrived >= end) this.listeners.delete(listener);
    });
  }

  private tell(size: number | null): void {
    this.arrived = size;
    for (const listener of this.listeners) listener(size);
  }
}
