import type { ProgressEvent } from '../job';
import { progressLine } from './progress';

/** How far a run is, for whoever asks by SIGUSR1: the phase that each item is in. */
export class StatusReport {
  private readonly events = new Map<string, ProgressEvent>();
  private printer: { print: (line: string) => void } | undefined;

  /** @param json as of `--progress json`: stderr has JSON lines only. */
  constructor(private readonly json: boolean) {}

  /** What prints the lines: the display that draws on stderr. */
  printBy(printer: { print: (line: string) => void }): void {
    this.printer = printer;
  }

  update(event: ProgressEvent): void {
    const { phase, item = phase, done, total } = event;
    this.events.delete(item); // the last one moved comes last
    // What is done is of no interest any more, and a batch has many of them.
    if (total === 0 || done < total) this.events.set(item, event);
  }

  readonly show = (): void => {
    const lines = [...this.events.values()].map((event) => this.lineOf(event));
    if (lines.length === 0) lines.push(this.lineOf({ phase: 'begin', done: 0, total: 0, unit: 'bytes' }));
    for (const line of lines) this.printer?.print(line);
  };

  private lineOf(event: ProgressEvent): string {
    const { phase, done, total, unit, item } = event;
    return this.json ? JSON.stringify({ phase, done, total, unit, item }) : progressLine(event);
  }
}
