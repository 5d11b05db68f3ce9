import { posix } from 'node:path';
import { failure, type SeekableErofsError } from '../../errors';
import type { ImageConfig } from '../../oci/types';

/** How an image wants its process to run, checked: an image's config is a stranger's text. */
export interface ContainerSettings {
  /** `NAME=value`, each name once. */
  env: string[];
  /** An absolute path. */
  cwd: string;
  /** `user`, `user:group`, by name or number; empty for root. */
  user: string;
  args: string[];
}

/** The kernel takes 2 MiB of arguments and environment, and no string longer than 128 KiB. */
const limits = { strings: 4096, string: 128 << 10, total: 1 << 20 };

/**
 * The settings of an image's config, with `command` in place of its Entrypoint and Cmd unless it is empty.
 * @throws CORRUPT for a config that no process can have; USAGE when there is nothing to run.
 */
export function containerSettings(
  config: ImageConfig['config'],
  command: readonly string[],
  what: string,
): ContainerSettings {
  const { Env, WorkingDir, User, Entrypoint, Cmd } = config ?? {};
  const ofImage = command.length === 0;
  const args = ofImage
    ? [...strings(Entrypoint, 'Entrypoint', what), ...strings(Cmd, 'Cmd', what)]
    : checked(command, 'the command', (why) => failure('USAGE', 'run', why));
  if (args.length === 0 || args[0] === '')
    throw failure('USAGE', what, 'the image names no command', 'give one: -- COMMAND');
  return {
    env: environment(strings(Env, 'Env', what), what),
    cwd: directory(text(WorkingDir, 'WorkingDir', what), what),
    user: text(User, 'User', what),
    args,
  };
}

function strings(value: unknown, name: string, what: string): string[] {
  if (value === undefined || value === null) return [];
  const isText = (element: unknown): element is string => typeof element === 'string';
  if (!Array.isArray(value) || !value.every(isText))
    throw corrupt(what, `${name} is not an array of strings`);
  return checked(value, name, (why) => corrupt(what, why));
}

function text(value: unknown, name: string, what: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw corrupt(what, `${name} is not a string`);
  return checked([value], name, (why) => corrupt(what, why))[0]!;
}

/** What execve(2) takes: no NUL, not too much. */
function checked(list: readonly string[], name: string, fail: (why: string) => SeekableErofsError): string[] {
  if (list.length > limits.strings)
    throw fail(`${name} has ${list.length} strings, the limit is ${limits.strings}`);
  let total = 0;
  for (const string of list) {
    if (string.includes('\0')) throw fail(`${name} has a NUL in it`);
    const size = Buffer.byteLength(string);
    if (size >= limits.string)
      throw fail(`${name} has a string of ${size} bytes, the limit is ${limits.string}`);
    total += size + 1;
  }
  if (total > limits.total) throw fail(`${name} has ${total} bytes, the limit is ${limits.total}`);
  return [...list];
}

/** Of a name that is there twice, the last value counts, at the place of the first, as Docker has it. */
function environment(list: readonly string[], what: string): string[] {
  const variables = new Map<string, string>();
  for (const variable of list) {
    const equals = variable.indexOf('=');
    if (equals <= 0)
      throw corrupt(what, `Env has ${JSON.stringify(variable.slice(0, 40))}, which is not NAME=value`);
    variables.set(variable.slice(0, equals), variable);
  }
  return [...variables.values()];
}

function directory(path: string, what: string): string {
  if (path === '') return '/';
  if (!path.startsWith('/'))
    throw corrupt(what, `WorkingDir ${JSON.stringify(path.slice(0, 40))} is not absolute`);
  return posix.resolve(path);
}

function corrupt(what: string, why: string): SeekableErofsError {
  return failure('CORRUPT', what, why);
}
