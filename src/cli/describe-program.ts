import type { Argument, Command, Option } from 'commander';
import { UsageCommand } from './command';

/** What may stand in the place of an argument or of a flag's value. */
type ValueKind = 'reference' | 'file' | 'folder' | 'choice' | 'platform' | 'text';

/** The value of a flag or an argument, as the help names it. */
export interface ValueDescription {
  name: string;
  kind: ValueKind;
  choices: readonly string[];
  required: boolean;
  repeatable: boolean;
}

/** One flag of a command. */
export interface FlagDescription {
  /** With its dashes. */
  long: string;
  short: string | undefined;
  text: string;
  group: string;
  /** Absent for a flag that is there or is not. */
  value: ValueDescription | undefined;
}

/** A command as its help shows it; completions and the manual page are made of it. */
export interface CommandDescription {
  name: string;
  group: string;
  summary: string;
  examples: readonly string[];
  arguments: readonly ValueDescription[];
  flags: readonly FlagDescription[];
  commands: readonly CommandDescription[];
}

/** Describes a command, or the program, and all below it. */
export function describeProgram(command: Command): CommandDescription {
  const help = command.createHelp();
  return {
    name: command.name(),
    group: command.helpGroup(),
    summary: command.summary(),
    examples: command instanceof UsageCommand ? command.examples : [],
    arguments: command.registeredArguments.map(describeArgument),
    flags: help.visibleOptions(command).map(describeFlag),
    commands: command.commands.map(describeProgram),
  };
}

/** Every command that does something by itself, with the words that lead to it. */
export function leafCommands(
  description: CommandDescription,
  words: readonly string[] = [],
): { words: readonly string[]; command: CommandDescription }[] {
  if (description.commands.length === 0) return [{ words, command: description }];
  return description.commands.flatMap((command) => leafCommands(command, [...words, command.name]));
}

function describeArgument(argument: Argument): ValueDescription {
  const name = argument.name();
  const choices = argument.argChoices ?? [];
  return {
    name,
    kind: choices.length > 0 ? 'choice' : argumentKind(name),
    choices,
    required: argument.required,
    repeatable: argument.variadic,
  };
}

const argumentKinds: Readonly<Record<string, ValueKind>> = {
  'REF|PATH': 'reference',
  REF: 'reference',
  SRC: 'reference',
  DST: 'reference',
  CONVERTED: 'reference',
  DIR: 'folder',
  TAR: 'file',
  LAYER: 'file',
  BLOB: 'file',
  IMAGE: 'file',
  FILE: 'file',
};

function argumentKind(name: string): ValueKind {
  return argumentKinds[name] ?? 'text';
}

function describeFlag(option: Option): FlagDescription {
  const hasValue = option.required || option.optional;
  return {
    long: option.long ?? option.flags,
    short: option.short,
    text: option.description,
    group: option.helpGroupHeading ?? 'Options:',
    value: hasValue ? describeValue(option) : undefined,
  };
}

function describeValue(option: Option): ValueDescription {
  const name = /<(.*)>/.exec(option.flags)?.[1] ?? 'value';
  const choices = option.argChoices ?? [];
  return {
    name,
    kind: choices.length > 0 ? 'choice' : flagKind(name),
    choices,
    required: option.required,
    repeatable: option.parseArg !== undefined && option.description.includes('repeatable'),
  };
}

function flagKind(name: string): ValueKind {
  if (name === 'platform' || name.startsWith('os/arch')) return 'platform';
  if (name === 'file' || name === 'socket' || name === 'what') return 'file';
  if (name === 'dir') return 'folder';
  return name === 'ref' ? 'reference' : 'text';
}

/** What the values of `--platform` usually are. */
export const commonPlatforms = [
  'linux/amd64',
  'linux/arm64',
  'linux/arm/v7',
  'linux/386',
  'linux/ppc64le',
  'linux/riscv64',
  'linux/s390x',
] as const;

/** How references begin that are not bare paths. */
export const referenceStarts = ['docker://', 'oci:', 'oci-archive:', 'docker-archive:'] as const;
