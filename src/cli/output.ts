import type { Writable } from 'node:stream';
import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { withoutSecrets } from '../public-name';
import { printable } from './text';

/** Where a run of the program writes. */
export interface Streams {
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
}

/** What a command found out, in both of its shapes. */
export interface Report {
  /** The document of `--json`. */
  document: unknown;
  /** Lines for a reader: the data itself. */
  text: string[];
  /** In the place of both, for a document that is an array. */
  listing?: Listing | undefined;
  /** Lines about the data, which `--quiet` leaves out. */
  summary?: string[] | undefined;
  /** True where stdout carries an archive: the lines go to stderr. */
  stdoutTaken?: boolean | undefined;
  /** Set when the command did its work and what it found is bad: the run fails, but the document stands. */
  failure?: SeekableErofsError | undefined;
}

/** What a command finds one after the other, printed as it is found: there may be millions. */
interface Listing {
  items: AsyncIterable<unknown>;
  /** The lines of some of them, in order. */
  describe: (items: never[]) => string[];
}

/** Items that are printed together. */
const listingBatch = 512;

/** Prints: data on stdout, everything about it on stderr. */
export class Output {
  /** What stdout has is a document that is not complete: another one can't follow. */
  isOpen = false;

  constructor(
    private readonly streams: Streams,
    private readonly mode: { json: boolean; quiet: boolean },
  ) {
    // Writes report their errors to their callbacks; without a listener the same error would end the process.
    for (const stream of [streams.stdout, streams.stderr]) {
      if (stream.listenerCount('error') === 0) stream.on('error', () => undefined);
    }
  }

  /** Prints a report. Rejects when stdout can't take it, but not when its reader has gone. */
  async report({ document, text, listing, summary = [], stdoutTaken = false }: Report): Promise<void> {
    if (listing !== undefined) return this.list(listing);
    if (this.mode.json) {
      await write(this.streams.stdout, `${JSON.stringify(document)}\n`);
      return;
    }
    const lines = this.mode.quiet ? text : [...text, ...summary];
    const target = stdoutTaken ? this.streams.stderr : this.streams.stdout;
    await write(target, lines.map((line) => `${printable(line)}\n`).join(''));
  }

  /** In batches of one size, so that the same listing is always the same text. */
  private async list({ items, describe }: Listing): Promise<void> {
    const { stdout } = this.streams;
    const { json } = this.mode;
    let batch: unknown[] = [];
    let printed = 0;
    const flush = async (): Promise<boolean> => {
      const lines = json
        ? batch.map((item, i) => `${printed + i === 0 ? '[' : ',\n'}${JSON.stringify(item)}`)
        : describe(batch as never[]).map((line) => `${printable(line)}\n`);
      this.isOpen = json && lines.length > 0;
      printed += batch.length;
      batch = [];
      return write(stdout, lines.join(''));
    };
    for await (const item of items) {
      batch.push(item);
      // Nobody may be reading any more.
      if (batch.length >= listingBatch && !(await flush())) return;
    }
    await flush();
    if (json) await write(stdout, printed === 0 ? '[]\n' : ']\n');
    this.isOpen = false;
  }

  /** Prints the one line about an error, with `--json` the document too, and returns the exit code. */
  async fail(error: unknown): Promise<number> {
    const known = toFailure(error);
    if (this.mode.json) {
      const document = { error: { code: known.code, message: errorText(known) } };
      await write(this.streams.stdout, `${JSON.stringify(document)}\n`).catch(() => undefined);
    }
    await this.complain(known, error);
    return known.exitCode;
  }

  /** The error's line on stderr alone. */
  async complain(known: SeekableErofsError, origin: unknown = known): Promise<void> {
    const stack = process.env['SEEKABLE_EROFS_DEBUG'] ? `${withoutSecrets(describeStack(origin))}\n` : '';
    const label = paint(this.streams.stderr, 31, 'error:');
    const line = `${label} ${printable(errorText(known))}\n${stack}`;
    await write(this.streams.stderr, line).catch(() => undefined);
  }
}

/** A warning as a line, without its newline. */
export function warningLine(stderr: Streams['stderr'], line: string): string {
  return `${paint(stderr, 33, 'warning:')} ${printable(line)}`;
}

/** `WHAT: WHY (HINT)`. */
function errorText({ what, why, hint }: SeekableErofsError): string {
  return `${what}: ${why}${hint === undefined ? '' : ` (${hint})`}`;
}

/** Whatever was thrown, as an error of this package: system errors by their code, the rest as a fault of the program. */
export function toFailure(error: unknown): SeekableErofsError {
  if (error instanceof SeekableErofsError) return error;
  if (error instanceof Error) {
    const { code, path, syscall } = error as NodeJS.ErrnoException;
    if (error.name === 'AbortError' || (code !== undefined && syscall !== undefined)) {
      return fromSystemError(path ?? 'seekable-erofs', error);
    }
  }
  const why = error instanceof Error ? error.message : String(error);
  return failure('FAILED', 'internal error', why, 'set SEEKABLE_EROFS_DEBUG=1 for the stack, and report it');
}

function describeStack(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by ${describeStack(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

/** Resolves when the bytes are handed over; with false when nobody reads them any more (`| head`). */
function write(stream: Writable, text: string): Promise<boolean> {
  if (text === '') return Promise.resolve(true);
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
      if (!error) resolve(true);
      else if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') resolve(false);
      else reject(fromSystemError('standard output', error));
    });
  });
}

/** Colours a label on a terminal that wants colours (no-color.org). */
function paint(stream: Streams['stderr'], colour: number, label: string): string {
  const { NO_COLOR, TERM } = process.env;
  return stream.isTTY === true && !NO_COLOR && TERM !== 'dumb' ? `\x1b[${colour}m${label}\x1b[0m` : label;
}
