import { fstatSync } from 'node:fs';
import { failure, fromSystemError } from '../errors';
import type { ResourceOptions } from '../job';
import { checkOutputIsOpen } from '../standard-output';
import { writeAtomically, type AtomicFile, type AtomicFileOptions } from './atomic-file';
import { readChunks } from './fd-chunks';
import { openTemporary } from './temporary';

/** A file that is being written, wherever its bytes go then. */
export type OutputFile = Pick<AtomicFile, 'fd' | 'name'>;

/**
 * Runs `write` on an unfinished file, which appears at `path` when that succeeds; where a user named `-`, its bytes go to standard output then.
 * Errors as writeAtomically(); USAGE for a terminal, IO for a standard output that is closed.
 */
export async function writeOutput<T>(
  path: string,
  write: (file: OutputFile) => Promise<T>,
  { inputs, tmpDir, signal }: AtomicFileOptions & ResourceOptions,
): Promise<T> {
  if (path !== '-') return writeAtomically(path, write, { inputs });
  checkOutputTakesBytes(path);
  const name = 'standard output';
  const temporary = await openTemporary(tmpDir);
  const { fd } = temporary;
  try {
    const result = await write({ fd, name });
    await writeToStandardOutput(readChunks(fd, fstatSync(fd).size, name), signal);
    return result;
  } catch (error) {
    throw fromSystemError(name, error);
  } finally {
    await temporary.close();
  }
}

/** Refuses a standard output that is a terminal or closed; `what` is what errors call it. */
export function checkOutputTakesBytes(what: string): void {
  if (process.stdout.isTTY) throw failure('USAGE', what, 'standard output is a terminal', 'redirect it');
  checkOutputIsOpen();
}

/** Hands all of `chunks` to standard output, one after the other. Errors are the system's own. */
export async function writeToStandardOutput(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  // A failed write calls back, and then is an event that would end the process.
  process.stdout.once('error', () => undefined);
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
}
