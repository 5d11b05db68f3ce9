import { readFile } from 'node:fs/promises';
import { fromSystemError } from '../errors';
import { parseTrace, type Trace } from '../format/trace';

/** Reads a trace from a file. Errors as those of parseTrace(), and of the file. */
export async function readTrace(path: string): Promise<Trace> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fromSystemError(path, error);
  });
  return parseTrace(bytes, path);
}
