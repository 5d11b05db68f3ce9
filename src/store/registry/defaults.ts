import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { failure, fromSystemError } from '../../errors';
import { closestName } from '../../closest-name';
import { describeValue, optionsOf, wantedInstead, type OptionRule } from '../../options';
import type { RegistryOptions } from './options';

/** What users may say once for all runs: options of registries, by the names of their flags. */
const settings = ['authFile', 'certDir', 'insecureHttp', 'concurrency', 'retryTime'] as const;
type Setting = (typeof settings)[number];
type RegistryDefaults = Pick<RegistryOptions, Setting>;

const rules: Record<Setting, OptionRule & { flag: string }> = optionsOf.convertImage;
const settingOf = new Map(settings.map((name) => [rules[name].flag, name]));
const registriesKey = 'registries';

/**
 * Options for a registry: those that are given, then those of the environment (`SEEKABLE_EROFS_AUTHFILE` …), then those of the
 * configuration, first what it says of `host`.
 * @throws USAGE for values that are none, NOT_FOUND for a configuration that was named and is not there; IO
 */
export async function withDefaults<T extends RegistryOptions>(host: string, given: T): Promise<T> {
  const environment = fromEnvironment();
  const { REGISTRY_AUTH_FILE } = process.env;
  // Other tools' variable is nearer to this run than a file.
  if (REGISTRY_AUTH_FILE && environment.authFile === undefined) environment.authFile = REGISTRY_AUTH_FILE;
  const file = await configuration();
  const chosen = settings.map((name) => [
    name,
    given[name] ?? environment[name] ?? file.of.get(host)?.[name] ?? file.all[name],
  ]);
  return { ...given, ...(Object.fromEntries(chosen) as RegistryDefaults) };
}

function fromEnvironment(): RegistryDefaults {
  const found: Record<string, unknown> = {};
  for (const name of settings) {
    const variable = `SEEKABLE_EROFS_${rules[name].flag.toUpperCase().replaceAll('-', '_')}`;
    const text = process.env[variable];
    if (text === undefined || text === '') continue;
    found[name] = checked(variable, rules[name], fromText(rules[name], text));
  }
  return found;
}

function fromText({ kind }: OptionRule, text: string): unknown {
  if (kind === 'integer') return /^\d{1,9}$/.test(text) ? Number(text) : text;
  if (kind !== 'boolean') return text;
  return { true: true, '1': true, false: false, '0': false }[text] ?? text;
}

function checked(where: string, rule: OptionRule, value: unknown): unknown {
  const wanted = wantedInstead(rule, value);
  if (wanted === null) return value;
  throw failure('USAGE', where, `it must be ${wanted}, not ${describeValue(value)}`);
}

interface Configuration {
  all: RegistryDefaults;
  /** By host, with its port. */
  of: Map<string, RegistryDefaults>;
}

/** The files that were read, by their paths: all registries of a run go by the same defaults, whenever they are opened. */
const configurations = new Map<string, Promise<Configuration>>();

async function configuration(): Promise<Configuration> {
  const file = configurationFile();
  if (file === undefined) return { all: {}, of: new Map() };
  const known = configurations.get(file);
  if (known !== undefined) return known;
  const reading = readConfiguration(file);
  configurations.set(file, reading);
  reading.catch(() => configurations.delete(file)); // it may be mended by the next time
  return reading;
}

/** The one that is named, or the first of the usual ones that is there. */
function configurationFile(): string | undefined {
  const named = process.env['SEEKABLE_EROFS_CONFIG'];
  if (named !== undefined && named !== '') return named;
  const home = process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  const usual = [join(home, 'seekable-erofs/config.yaml'), '/etc/seekable-erofs/config.yaml'];
  return usual.find((path) => existsSync(path));
}

async function readConfiguration(file: string): Promise<Configuration> {
  try {
    return await parseConfiguration(await readFile(file, 'utf8'), file);
  } catch (error) {
    throw fromSystemError(file, error);
  }
}

/** Paths in it are relative to its folder. Exported for its test. */
export async function parseConfiguration(text: string, file: string): Promise<Configuration> {
  const { parse } = await import('yaml');
  let document: unknown;
  try {
    document = parse(text, { prettyErrors: false, logLevel: 'error', maxAliasCount: 0 });
  } catch (error) {
    throw failure('USAGE', file, (error as Error).message);
  }
  const { [registriesKey]: registries, ...all } = mapOf(document ?? {}, file);
  const of = Object.entries(mapOf(registries ?? {}, `${file}: ${registriesKey}`));
  return {
    all: settingsOf(all, file, [registriesKey]),
    of: new Map(of.map(([host, map]) => [host, settingsOf(map, file, [], `${registriesKey}.${host}.`)])),
  };
}

function mapOf(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw failure('USAGE', where, `a map is wanted, not ${describeValue(value)}`);
}

function settingsOf(value: unknown, file: string, others: string[], prefix = ''): RegistryDefaults {
  const found: Record<string, unknown> = {};
  for (const [key, said] of Object.entries(
    mapOf(value, prefix === '' ? file : `${file}: ${prefix.slice(0, -1)}`),
  )) {
    const name = settingOf.get(key);
    if (name === undefined) {
      const known = [...settingOf.keys(), ...others];
      const meant = closestName(key, known);
      const hint = meant === undefined ? `there is ${known.join(', ')}` : `did you mean "${meant}"?`;
      throw failure('USAGE', file, `there is no setting "${prefix}${key.slice(0, 60)}"`, hint);
    }
    const rule = rules[name];
    const given = checked(`${file}: ${prefix}${key}`, rule, said);
    found[name] = rule.kind === 'file' ? resolve(dirname(file), given as string) : given;
  }
  return found;
}
