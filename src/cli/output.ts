import type { Writable } from 'node:stream';
import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { withoutSecrets } from '../public-name';
import { jsonText } from './json-text';
import { printable } from './text';

/** Where a run of the program writes. */
export interface Streams {
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
}

/** What a command found out, in both of its shapes. */
export interface Report {
  /** The document of `--json`; async iterables stand for arrays, and are printed as they are gone through. */
  document: unknown;
  /** Lines for a reader: the data itself. Some after the other where they are found so: there may be millions. */
  text: string[] | AsyncIterable<string[]>;
  /** Lines about the data, which `--quiet` leaves out. */
  summary?: string[] | undefined;
  /** True where stdout carries an archive: the lines go to stderr. */
  stdoutTaken?: boolean | undefined;
  /** Set when the command did its work and what it found is bad: the run fails, but the document stands. */
  failure?: SeekableErofsError | undefined;
  /** Called when all was printed, or could not be. */
  close?: (() => Promise<void>) | undefined;
}

/** Characters that are printed together. */
const printedTogether = 1 << 16;

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

  /** Prints a report. Rejects when stdout can't take it, or what it has to print can't be found; but not when its reader has gone. */
  async report(report: Report): Promise<void> {
    try {
      await (this.mode.json ? this.printDocument(report) : this.printLines(report));
    } finally {
      await report.close?.();
    }
  }

  private async printDocument({ document }: Report): Promise<void> {
    let text = '';
    for await (const piece of jsonText(document)) {
      text += piece;
      if (text.length < printedTogether) continue;
      // Nobody may be reading any more.
      if (!(await write(this.streams.stdout, text))) return;
      this.isOpen = true;
      text = '';
    }
    await write(this.streams.stdout, `${text}\n`);
    this.isOpen = false;
  }

  private async printLines({ text, summary = [], stdoutTaken = false }: Report): Promise<void> {
    const target = stdoutTaken ? this.streams.stderr : this.streams.stdout;
    let printed = '';
    for await (const lines of Array.isArray(text) ? [text] : text) {
      for (const line of lines) printed += `${printable(line)}\n`;
      if (printed.length < printedTogether) continue;
      if (!(await write(target, printed))) return;
      printed = '';
    }
    const last = this.mode.quiet ? [] : summary;
    await write(target, printed + last.map((line) => `${printable(line)}\n`).join(''));
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
export function write(stream: Writable, text: string): Promise<boolean> {
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
