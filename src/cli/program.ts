import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { failure, type SeekableErofsError } from '../errors';
import { checkArguments } from './arguments';
import { UsageCommand, type Session } from './command';
import { Output, type Streams } from './output';

/** In the order of the help. Loaded when needed: a run needs one of them, and each takes its milliseconds. */
const commands: Readonly<Record<string, () => Promise<(session: Session) => Command>>> = {
  convert: async () => (await import('./commands/convert.js')).convertCommand,
  batch: async () => (await import('./commands/batch.js')).batchCommand,
  build: async () => (await import('./commands/build.js')).buildCommand,
  encode: async () => (await import('./commands/encode.js')).encodeCommand,
  decode: async () => (await import('./commands/decode.js')).decodeCommand,
  inspect: async () => (await import('./commands/inspect.js')).inspectCommand,
  verify: async () => (await import('./commands/verify.js')).verifyCommand,
  check: async () => (await import('./commands/check.js')).checkCommand,
  ls: async () => (await import('./commands/ls.js')).lsCommand,
  cat: async () => (await import('./commands/cat.js')).catCommand,
  extract: async () => (await import('./commands/extract.js')).extractCommand,
  mount: async () => (await import('./commands/mount.js')).mountCommand,
  umount: async () => (await import('./commands/umount.js')).umountCommand,
  mounts: async () => (await import('./commands/mounts.js')).mountsCommand,
  run: async () => (await import('./commands/run.js')).runCommand,
  serve: async () => (await import('./commands/serve.js')).serveCommand,
  lazy: async () => (await import('./commands/lazy.js')).lazyCommand,
  trace: async () => (await import('./commands/trace.js')).traceCommand,
  doctor: async () => (await import('./commands/doctor.js')).doctorCommand,
};

const examples = `Examples:
  $ seekable-erofs convert oci-archive:app.tar oci:app:latest
  $ seekable-erofs encode --dm-verity layer.tar layer.blob
  $ seekable-erofs verify oci:app:latest
`;

/** Runs the program and returns its exit code. All that it prints goes to `streams`. */
export async function run(argv: string[], streams: Streams): Promise<number> {
  const session: Session = { streams, exitCode: 0 };
  try {
    checkArguments(argv);
    const words = asCommand(argv);
    const program = await createProgram(session, words);
    await program.parseAsync(words, { from: 'user' });
    return session.exitCode;
  } catch (error) {
    // What commander still throws by itself ends a help: exit code 0, or 1 for `help` of something unknown.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const known = error instanceof CommanderError ? noSuchCommand() : error;
    return new Output(streams, { json: wantsJson(argv), quiet: false }).fail(known);
  }
}

/** What no command is named by comes to one that is: no words are a call for help, `help` of what there isn't is about that. */
function asCommand(argv: string[]): string[] {
  const [first, second] = argv;
  if (first === undefined) return ['--help'];
  if (first === '-v') return ['--version'];
  const isUnknown = first === 'help' && second !== undefined && !Object.hasOwn(commands, second);
  return isUnknown && !second.startsWith('-') ? [second] : argv;
}

function noSuchCommand(): SeekableErofsError {
  return failure('USAGE', 'seekable-erofs', 'no such command', 'see seekable-erofs --help');
}

async function createProgram(session: Session, argv: string[]): Promise<Command> {
  const program = new UsageCommand('seekable-erofs')
    .summary('container images as seekable EROFS layers')
    .addHelpText('before', examples)
    .addHelpText('after', '\nseekable-erofs COMMAND --help has the flags and examples of each command.')
    .version(packageVersion(), '-V, --version', 'print the version (also -v)')
    .helpOption('-h, --help', 'print this help')
    .configureOutput({ writeOut: (text) => session.streams.stdout.write(text), writeErr: () => undefined })
    .exitOverride();
  for (const load of commandsFor(argv)) {
    const create = await load();
    program.addCommand(create(session).copyInheritedSettings(program));
  }
  return program;
}

/** The command that is named first; else all, for the help or for advice on a misspelt one. */
function commandsFor([first = '']: string[]): (typeof commands)[string][] {
  if (first === '--version' || first === '-V') return [];
  return Object.hasOwn(commands, first) ? [commands[first]!] : Object.values(commands);
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
