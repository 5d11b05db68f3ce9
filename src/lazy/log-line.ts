import { writeSync } from 'node:fs';

const standardError = 2;

/** A line to the log that server and keeper share. One that can't be written, as on a full disk, is lost; console.error() would end the process. */
export function logLine(line: string): void {
  try {
    writeSync(standardError, `${line}\n`);
  } catch {
    // There is nowhere to say it.
  }
}
