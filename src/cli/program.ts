import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { failure, type SeekableErofsError } from '../errors';
import { UsageCommand, type Session } from './command';
import { batchCommand } from './commands/batch';
import { buildCommand } from './commands/build';
import { catCommand } from './commands/cat';
import { checkCommand } from './commands/check';
import { convertCommand } from './commands/convert';
import { decodeCommand } from './commands/decode';
import { doctorCommand } from './commands/doctor';
import { encodeCommand } from './commands/encode';
import { extractCommand } from './commands/extract';
import { inspectCommand } from './commands/inspect';
import { lsCommand } from './commands/ls';
import { mountCommand } from './commands/mount';
import { mountsCommand } from './commands/mounts';
import { runCommand } from './commands/run';
import { umountCommand } from './commands/umount';
import { verifyCommand } from './commands/verify';
import { Output, type Streams } from './output';

/** In the order of the help. */
const commands = [
  convertCommand,
  batchCommand,
  buildCommand,
  encodeCommand,
  decodeCommand,
  inspectCommand,
  verifyCommand,
  checkCommand,
  lsCommand,
  catCommand,
  extractCommand,
  mountCommand,
  umountCommand,
  mountsCommand,
  runCommand,
  doctorCommand,
];

const examples = `Examples:
  $ seekable-erofs convert oci-archive:app.tar oci:app:latest
  $ seekable-erofs encode --dm-verity layer.tar layer.blob
  $ seekable-erofs verify oci:app:latest
`;

/** Runs the program and returns its exit code. All that it prints goes to `streams`. */
export async function run(argv: string[], streams: Streams): Promise<number> {
  const session: Session = { streams, exitCode: 0 };
  try {
    if (argv.length === 0) throw noSuchCommand();
    await createProgram(session).parseAsync(argv, { from: 'user' });
    return session.exitCode;
  } catch (error) {
    // What commander still throws by itself ends a help: exit code 0, or 1 for `help` of something unknown.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const known = error instanceof CommanderError ? noSuchCommand() : error;
    return new Output(streams, { json: wantsJson(argv), quiet: false }).fail(known);
  }
}

function noSuchCommand(): SeekableErofsError {
  return failure('USAGE', 'seekable-erofs', 'no such command', 'see seekable-erofs --help');
}

function createProgram(session: Session): Command {
  const program = new UsageCommand('seekable-erofs')
    .summary('container images as seekable EROFS layers')
    .addHelpText('before', examples)
    .addHelpText('after', '\nseekable-erofs COMMAND --help has the flags and examples of each command.')
    .version(packageVersion(), '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .configureOutput({ writeOut: (text) => session.streams.stdout.write(text), writeErr: () => undefined })
    .exitOverride();
  for (const create of commands) program.addCommand(create(session).copyInheritedSettings(program));
  return program;
}

/** Read from the text, since flags are not known yet when one of them is wrong. */
function wantsJson(argv: string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json');
}

function packageVersion(): string {
  const file = join(__dirname, '..', '..', 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
