import { InvalidArgumentError, Option, type Command } from 'commander';
import { collect, given, parseFileName, parseInteger } from './options';

/** Flags of the lazy server: as `serve` takes them, and as `mount` and `run` hand them on to one that they start. */
export interface ServerFlags {
  background?: string;
  ioTimeout?: number;
  cacheSize?: string;
  metrics?: string;
}

/** Flags of `mount` and `run`. */
export interface LazyFlags extends ServerFlags {
  lazy?: true;
  mirror?: string[];
  prefetch?: string;
  record?: string;
}

/** A day: a longer wait is none that anybody meant. */
const maxSeconds = 86_400;

/** Adds the flags of a mount that fetches what is read. */
export function addLazyOptions(command: Command): void {
  command
    .optionsGroup('Lazily:')
    .option('--lazy', 'mount at once and fetch what is read, by the lazy server (see serve)')
    .addOption(
      new Option('--mirror <host>', 'a registry that has the same blobs, repeatable').argParser(collect),
    )
    .option(
      '--prefetch <what>',
      'what to fetch before it is read: auto (what the image was laid out for, and the trace attached to it), a trace, none (default: auto)',
      parseFileName,
    )
    .option('--record <file>', 'write down what is read, as a trace; implies --lazy', parseFileName);
  addServerOptions(command, 'of a server that is started: ');
}

/** Adds the flags of the lazy server. */
export function addServerOptions(command: Command, prefix = ''): void {
  command
    .option(
      '--background <rate>',
      `${prefix}fetch the rest after 10 s of quiet: auto, off, or bytes a second (default: auto)`,
    )
    .addOption(
      new Option(
        '--io-timeout <seconds>',
        `${prefix}how long a reader waits for what can't be had (default: 60)`,
      ).argParser(parseSeconds),
    )
    .option(
      '--cache-size <size>',
      `${prefix}bytes on disk of all layers that are kept, e.g. 20GiB (default: a tenth of the disk stays free, or 10 GiB)`,
    )
    .option(
      '--metrics <addr:port>',
      `${prefix}answer GET /metrics there, for Prometheus, e.g. 127.0.0.1:9100`,
    );
}

/** What the flags of a mount say, as the library takes it. */
export function lazyOptions(flags: LazyFlags) {
  const { lazy, mirror, prefetch, record, background, ioTimeout, cacheSize, metrics } = flags;
  return given({ lazy, mirrors: mirror, prefetch, record, background, ioTimeout, cacheSize, metrics });
}

function parseSeconds(text: string): number {
  const seconds = parseInteger(text);
  if (seconds >= 1 && seconds <= maxSeconds) return seconds;
  throw new InvalidArgumentError(`Give seconds, at most ${maxSeconds}.`);
}
