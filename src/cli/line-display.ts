import type { Options } from 'cli-progress';
import type { Streams } from './output';

/** A display whose lines simply follow each other. */
export class LineDisplay {
  constructor(private readonly stderr: Streams['stderr']) {}

  print(line: string): void {
    this.stderr.write(`${line}\n`);
  }

  stop(): void {
    // Every line was complete when it was printed.
  }
}

/** How bars are drawn: below what is printed, and gone at the end. */
export const barOptions = (stderr: Streams['stderr']): Options => ({
  stream: stderr,
  clearOnComplete: true,
  hideCursor: true,
  gracefulExit: false,
  noTTYOutput: true,
  forceRedraw: true,
});
