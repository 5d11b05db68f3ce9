import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { parseBatchList, type BatchEntry } from '../../convert/batch/list';
import { matcher } from '../../convert/batch/template';
import { failure, fromSystemError } from '../../errors';
import { parseReference } from '../../oci/reference';
import { commonName } from './globs';
import type { Pushed } from './notification';

/** Which images are converted, and where to. */
export interface PolicyRule {
  /** A template as of a batch's list. */
  entry: BatchEntry;
  /** Of the source: `host` and, without `{repo}` and `{tag}`, the one repository or tag. */
  host: string;
  repos: { patterns: string[]; not: string[] };
  tags: { patterns: string[]; not: string[] };
  priority: number;
}

/** What a policy file says. */
export interface Policy {
  rules: PolicyRule[];
  /** What registries call themselves in events, and how references name them. */
  hosts: ReadonlyMap<string, string>;
  secretFile?: string | undefined;
  /** Nobody has to show a secret. */
  isOpen: boolean;
}

const ownKeys = ['not-repos', 'not-tags', 'priority'];

/** Reads a policy. @throws USAGE for one that makes no sense, or that would convert what it has written; NOT_FOUND, IO */
export async function readPolicy(file: string): Promise<Policy> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw fromSystemError(file, error);
  });
  return parsePolicy(text, file);
}

/** Parses the text of a policy; errors as of readPolicy(). Exported for its test. */
export function parsePolicy(text: string, file: string): Policy {
  const document = parsed(text, file);
  const { rules, hosts = {}, 'secret-file': secretFile, open = false, ...unknown } = document;
  const [key] = Object.keys(unknown);
  if (key !== undefined)
    throw failure('USAGE', file, `there is no key "${key}"`, 'there is rules, hosts, secret-file, open');
  if (!Array.isArray(rules) || rules.length === 0)
    throw failure('USAGE', file, '"rules" must be a list of rules');
  if (typeof open !== 'boolean') throw failure('USAGE', file, '"open" must be true or false');
  if (secretFile !== undefined && typeof secretFile !== 'string')
    throw failure('USAGE', file, '"secret-file" must be the name of a file');
  const policy = {
    rules: rules.map((rule, i) => ruleOf(rule, `${file}: rule ${i + 1}`)),
    hosts: new Map(Object.entries(hosts as Record<string, string>)),
    secretFile,
    isOpen: open,
  };
  for (const rule of policy.rules) for (const other of policy.rules) refuseLoop(rule, other);
  return policy;
}

function parsed(text: string, file: string): Record<string, unknown> {
  try {
    const value: unknown = parse(text, { maxAliasCount: 100 });
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch (error) {
    throw failure('USAGE', file, (error as Error).message.split('\n')[0]!);
  }
  throw failure('USAGE', file, 'it is no map of "rules" …');
}

function ruleOf(rule: unknown, where: string): PolicyRule {
  if (typeof rule !== 'object' || rule === null) throw failure('USAGE', where, 'it must be a map');
  const { 'not-repos': notRepos, 'not-tags': notTags, priority = 0 } = rule as Record<string, unknown>;
  if (!Number.isSafeInteger(priority) || (priority as number) < 0)
    throw failure('USAGE', where, '"priority" must be a number from 0');
  const others = Object.entries(rule).filter(([key]) => !ownKeys.includes(key));
  const [entry] = parseBatchList(JSON.stringify([Object.fromEntries(others)]), where).entries;
  const { source, repos = ['**'], tags = ['**'] } = entry!;
  const sample = parseReference(source.replaceAll('{repo}', 'x').replaceAll('{tag}', 'x'));
  if (sample.transport !== 'docker')
    throw failure('USAGE', where, 'its source must be docker://HOST/REPO:TAG');
  return {
    entry: { ...entry!, where },
    host: sample.host,
    repos: { patterns: source.includes('{repo}') ? repos : [sample.repository], not: texts(notRepos, where) },
    tags: {
      patterns: source.includes('{tag}') ? tags : [sample.tag ?? 'latest'],
      not: texts(notTags, where),
    },
    priority: priority as number,
  };
}

function texts(value: unknown, where: string): string[] {
  const list = [value === undefined ? [] : value].flat();
  if (list.every((one) => typeof one === 'string')) return list;
  throw failure('USAGE', where, 'a pattern must be text');
}

/** The rules that an image is converted by. */
export function rulesFor({ rules, hosts }: Policy, { host, repository, tag }: Pushed): PolicyRule[] {
  const name = host === undefined ? undefined : (hosts.get(host) ?? host);
  return rules.filter(
    (rule) =>
      (name === undefined || name === rule.host) && isIn(rule.repos, repository) && isIn(rule.tags, tag),
  );
}

function isIn({ patterns, not }: PolicyRule['repos'], name: string): boolean {
  return matcher(patterns)(name) && !matcher(not)(name);
}

/** A job of a rule, for one image. */
export function jobFor({ entry, host }: PolicyRule, { repository, tag }: Pushed): BatchEntry {
  const fill = (text: string): string => text.replaceAll('{repo}', repository).replaceAll('{tag}', tag);
  const { options, where } = entry;
  const source = entry.source.includes('{') ? fill(entry.source) : `docker://${host}/${repository}:${tag}`;
  return { source, destination: fill(entry.destination), options, where };
}

/**
 * Refuses a policy of which one rule's results would be another's sources, or its own. Under its own name an image may only be appended to:
 * that gives the same index again.
 */
function refuseLoop(rule: PolicyRule, other: PolicyRule): void {
  const { entry } = rule;
  if (rule === other && entry.options.appendToIndex === true && isSamePlace(rule)) return;
  const to = destinationOf(entry.destination);
  if (to?.host !== other.host) return;
  const repo = commonName(framed(to.repository, '{repo}', rule.repos.patterns, rule), {
    patterns: other.repos.patterns,
    not: other.repos.not,
  });
  const tag = commonName(
    framed(to.tag, '{tag}', rule.tags.patterns, rule),
    {
      patterns: other.tags.patterns,
      not: other.tags.not,
    },
    false,
  );
  if (repo === null || tag === null) return;
  const why = `what it writes would be converted again, ${repo}:${tag} for one, by ${other.entry.where}`;
  throw failure('USAGE', entry.where, why, "not-tags: '*-erofs', or other repositories");
}

function isSamePlace({ entry }: PolicyRule): boolean {
  return entry.source === entry.destination;
}

/** Repository and tag of a destination, with their holes; null for what is in no registry. */
function destinationOf(text: string): { host: string; repository: string; tag: string } | null {
  const [repoMark, tagMark] = ['holerepo0', 'holetag0'];
  const marked = text.replaceAll('{repo}', repoMark).replaceAll('{tag}', tagMark);
  const reference = parseReference(marked);
  if (reference.transport !== 'docker') return null;
  const back = (name: string): string => name.replaceAll(repoMark, '{repo}').replaceAll(tagMark, '{tag}');
  return {
    host: reference.host,
    repository: back(reference.repository),
    tag: back(reference.tag ?? 'latest'),
  };
}

/** What a hole of a template can become, and what stands around it. More holes than one are taken for anything at all. */
function framed(text: string, hole: string, patterns: string[], { entry }: PolicyRule) {
  if (!/\{(repo|tag)\}/.test(text)) return { prefix: text, patterns: [''], suffix: '' };
  const [prefix, suffix, more] = text.split(hole);
  const isSimple = suffix !== undefined && more === undefined && !/\{(repo|tag)\}/.test(prefix! + suffix);
  if (isSimple && entry.source.includes(hole)) return { prefix: prefix!, patterns, suffix };
  return { prefix: '', patterns: ['**'], suffix: '' };
}
