import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystemError } from '../errors';
import { write, type Streams } from './output';
import { printable } from './text';

const interval = 1000; // milliseconds

interface WatchOptions {
  /** One document a line in place of lines for a reader. */
  json: boolean;
  signal: AbortSignal | undefined;
}

/**
 * Prints what `look` finds, each second anew: over the last picture on a terminal that can, else below it. Ends when nobody reads it any
 * more; CANCELLED when `signal` is aborted.
 */
export async function watch(
  { stdout }: Pick<Streams, 'stdout'>,
  { json, signal }: WatchOptions,
  look: () => Promise<{ document: unknown; text: string[] }>,
): Promise<void> {
  const isDrawn = !json && stdout.isTTY === true && process.env['TERM'] !== 'dumb';
  for (let above = 0; ;) {
    const { document, text } = await look();
    const lines = json ? [JSON.stringify(document)] : text.map(printable);
    // Up to where the last picture began, and all below it away.
    const start = isDrawn && above > 0 ? `\x1b[${above}A\x1b[J` : '';
    const end = json || isDrawn ? '' : '\n';
    if (!(await write(stdout, `${start}${lines.map((line) => `${line}\n`).join('')}${end}`))) return;
    above = lines.length;
    await sleep(interval, undefined, { ...(signal && { signal }) }).catch((error: unknown) => {
      throw fromSystemError('mounts', error);
    });
  }
}
