import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { checkArguments } from './arguments';
import { UsageCommand, type Session } from './command';
import { commandGroups } from './command-groups';
import { Output, type Streams } from './output';

const commands = Object.assign({}, ...Object.values(commandGroups)) as (typeof commandGroups)[string];

const examples = [
  'convert docker://docker.io/library/alpine:latest oci:alpine:erofs --dm-verity',
  'verify oci:alpine:erofs',
  'cat oci:alpine:erofs /etc/os-release',
];

/** Runs the program and returns its exit code. All that it prints goes to `streams`. */
export async function run(argv: string[], streams: Streams): Promise<number> {
  const session = newSession(streams);
  try {
    checkArguments(argv);
    const words = asCommand(argv);
    const program = await createProgram(session, words);
    await program.parseAsync(words, { from: 'user' });
    return session.exitCode;
  } catch (error) {
    // What commander still throws by itself ends a help.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    return new Output(streams, { json: wantsJson(argv), quiet: false }).fail(error);
  }
}

/** Every command there is, to be described rather than run. */
export function wholeProgram(streams: Streams = process): Promise<Command> {
  return newSession(streams).wholeProgram();
}

function newSession(streams: Streams): Session {
  const session: Session = { streams, exitCode: 0, wholeProgram: () => createProgram(session, []) };
  return session;
}

/** What no command is named by comes to one that is: no words are a call for help, `help` of what there isn't is about that. */
function asCommand(argv: string[]): string[] {
  const [first, second] = argv;
  if (first === undefined) return ['--help'];
  if (first === '-v' || first === 'version') return ['--version'];
  const isUnknown = first === 'help' && second !== undefined && !Object.hasOwn(commands, second);
  return isUnknown && !second.startsWith('-') ? [second] : argv;
}

async function createProgram(session: Session, argv: string[]): Promise<Command> {
  const program = new UsageCommand('seekable-erofs')
    .summary('container images as seekable EROFS layers')
    .showExamples(examples)
    .addHelpText('after', '\nseekable-erofs COMMAND --help has the flags and examples of each command.')
    .version(packageVersion(), '-V, --version', 'print the version (also -v)')
    .helpOption('-h, --help', 'print this help')
    .configureOutput({ writeOut: (text) => session.streams.stdout.write(text), writeErr: () => undefined })
    .exitOverride();
  for (const [group, loads] of commandsFor(argv)) {
    program.commandsGroup(group);
    for (const load of loads) {
      const create = await load();
      program.addCommand(create(session).copyInheritedSettings(program));
    }
  }
  return program.helpCommand('help [COMMAND]', 'Print the help of a command');
}

/** The command that is named first; else all in their groups, for the help or for advice on a misspelt one. */
function commandsFor([first = '']: string[]): [string, (typeof commands)[string][]][] {
  if (first === '--version' || first === '-V') return [];
  if (Object.hasOwn(commands, first)) return [['', [commands[first]!]]];
  return Object.entries(commandGroups).map(([group, members]) => [group, Object.values(members)]);
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
