import { Command, type HelpContext } from 'commander';
import type { SignalRelay } from '../index';
import type { ResourceOptions } from '../job';
import { failure } from '../errors';
import { addCommonOptions, type CommonFlags } from './options';
import { Output, toFailure, warningLine, type Report, type Streams } from './output';
import { createProgress, type ProgressDisplay } from './progress';
import { SignalWatch } from './signals';
import { StatusReport } from './status-report';

/** A command whose usage errors are thrown in this package's form instead of printed in commander's. */
export class UsageCommand extends Command {
  /** Lines of the program that show its use, without its name. */
  examples: readonly string[] = [];

  /** Puts examples first in the help. */
  showExamples(examples: readonly string[], heading = ''): this {
    this.examples = examples;
    const lines = examples.map((example) => `  $ seekable-erofs ${example}\n`);
    return this.addHelpText('before', `${heading}Examples:\n${lines.join('')}`);
  }

  override createCommand(name?: string): Command {
    return new UsageCommand(name);
  }

  /** Commander calls for help where a command of several has none of them. */
  override help(context?: unknown): never {
    const isMissing = (context as HelpContext | undefined)?.error === true;
    if (!isMissing || this.parent === null) return super.help(context as HelpContext);
    return this.error(`which of its commands? ${this.commands.map((command) => command.name()).join(', ')}`);
  }

  override error(message: string): never {
    const [, why = message, advice] = /^(?:error: )?(.*?)(?:\n\((.*)\))?$/s.exec(message) ?? [];
    const path = this.parent === null ? this.name() : `${this.parent.name()} ${this.name()}`;
    const hint = advice?.replace(/^D/, 'd') ?? `see ${path} --help`;
    throw failure('USAGE', path, why.replace(/\.$/, '').replace(' is invalid. ', ' is invalid: '), hint);
  }
}

/** What a command's work gets: the options that every call of the library takes. */
export interface Context {
  streams: Streams;
  options: Required<Pick<ResourceOptions, 'signal' | 'onProgress'>> &
    ResourceOptions & { onWarning: (line: string) => void };
  /** Seconds since the command began its work. */
  elapsed: () => number;
  /** Ends the drawing, and gives signals to `deliver` until the returned function is called: another program has the terminal. */
  handOver: SignalRelay;
  /** SIGQUIT calls this from now on, instead of ending the run. */
  onQuit: (act: () => void) => void;
  /** What SIGUSR1 shows; told of all that `onProgress` is. */
  status: StatusReport;
}

/** A run of the program: where it writes, and how it ends. */
export interface Session {
  streams: Streams;
  exitCode: number;
  /** Every command there is, for those that tell of them. */
  wholeProgram: () => Promise<Command>;
}

/** Starts a command's definition: its arguments, and its help with the examples first. */
export function defineCommand(usage: string, summary: string, examples: string[]): Command {
  const [name = '', ...args] = usage.split(' ');
  const command = new UsageCommand(name).summary(summary);
  for (const argument of args) command.argument(argument);
  return command.showExamples(examples, `${summary}\n\n`);
}

/** Ends a command's definition: the flags that all share, and its work between signals, progress and printing. */
export function finishCommand(
  command: Command,
  session: Session,
  work: (context: Context, args: string[]) => Promise<Report>,
): Command {
  return addCommonOptions(command).action(async () => {
    await perform(session, command.opts<CommonFlags>(), (context) => work(context, command.args));
  });
}

async function perform(
  session: Session,
  flags: CommonFlags,
  work: (context: Context) => Promise<Report>,
): Promise<void> {
  const { json = false, quiet = false, progress: mode } = flags;
  const output = new Output(session.streams, { json, quiet });
  const status = new StatusReport(mode === 'json');
  const signals = new SignalWatch(process, (code) => process.exit(code), status.show);
  const progress = await createProgress(mode, session.streams.stderr, quiet);
  status.printBy(progress);
  const options = contextOptions(session, flags, { signal: signals.signal, status, progress });
  try {
    const started = performance.now();
    const elapsed = (): number => (performance.now() - started) / 1000;
    const handOver: SignalRelay = (deliver) => {
      progress.stop();
      return signals.lend(deliver);
    };
    const onQuit = (act: () => void): void => {
      signals.onQuit(act);
    };
    const report = await work({ streams: session.streams, options, elapsed, handOver, onQuit, status });
    progress.stop();
    await output.report(report);
    if (report.failure === undefined) return;
    await output.complain(report.failure);
    session.exitCode = report.failure.exitCode;
  } catch (error) {
    const explained = signals.explain(error);
    if (!output.isOpen) throw explained;
    const known = toFailure(explained);
    await output.complain(known, explained);
    session.exitCode = known.exitCode;
  } finally {
    progress.stop();
    signals.dispose();
  }
}

function contextOptions(
  { streams }: Session,
  { quiet = false, threads, tmpDir }: CommonFlags,
  { signal, status, progress }: { signal: AbortSignal; status: StatusReport; progress: ProgressDisplay },
): Context['options'] {
  return {
    signal,
    onProgress: (event) => {
      status.update(event);
      progress.update(event);
    },
    onWarning: (line) => {
      if (!quiet) progress.print(warningLine(streams.stderr, line));
    },
    threads,
    tmpDir,
  };
}
