import { MemorySource } from './memory-source';

/** Records which bytes are read, and holds reads back while it has a gate. */
export class RecordingSource extends MemorySource {
  ranges: string[] = [];
  gate: Promise<void> | undefined;
  signals: (AbortSignal | undefined)[] = [];
  closed = 0;

  override async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    this.ranges.push(`${offset}-${offset + length - 1}`);
    this.signals.push(signal);
    await this.gate;
    return super.read(offset, length, signal);
  }

  override async close(): Promise<void> {
    this.closed++;
  }
}
