import { parseTrace, maxTraceSize, type Trace } from '../format/trace';
import { checkJsonSize } from '../format/json';
import type { ResourceOptions } from '../job';
import { openNamedFile } from '../source/input-file';

/** Reads a trace from a file; `-` is standard input. Errors as those of parseTrace(), and of the file. */
export async function readTrace(path: string, options: ResourceOptions = {}): Promise<Trace> {
  return (await readTraceFile(path, options)).trace;
}

/** As readTrace(), with the file's bytes. */
export async function readTraceFile(
  path: string,
  options: ResourceOptions,
): Promise<{ trace: Trace; bytes: Buffer }> {
  const file = await openNamedFile(path, options);
  try {
    checkJsonSize(file.name, file.size, maxTraceSize);
    const bytes = await file.read(0, file.size);
    return { trace: parseTrace(bytes, file.name), bytes };
  } finally {
    await file.close();
  }
}
