import { failure, SeekableErofsError } from '../../errors';
import { parseReference, type RegistryReference } from '../../oci/reference';
import { isReferrersTag } from '../../oci/referrers';
import type { BatchEntry } from './list';

/** What a template asks a registry. */
export interface RegistryNames {
  /** The repositories of a registry (`/v2/_catalog`, all pages). */
  catalogue(host: string): AsyncIterable<string>;
  /** The tags of a repository. */
  tags(repository: Pick<RegistryReference, 'host' | 'repository'>): AsyncIterable<string>;
}

/** More names than this in one answer are no registry's that anybody converts in one run. */
const maxNames = 1_000_000;
/** Repositories have 255 characters, tags 128. */
const maxNameLength = 255;

const holes = /\{(repo|tag)\}/g;

/** Whether an entry stands for many jobs. */
export function isTemplate({ source, destination, repos, tags }: BatchEntry): boolean {
  return (
    [...source.matchAll(holes), ...destination.matchAll(holes), ...(repos ?? []), ...(tags ?? [])].length > 0
  );
}

/**
 * The jobs that a template stands for: one for each repository (`{repo}`) and tag (`{tag}`) of the registry that the
 * patterns match, in the registry's order. What a registry calls a name is checked before it becomes a part of a destination.
 * @throws USAGE for a template that says nothing sensible, CORRUPT for illegal names, NOT_FOUND when nothing matches; IO
 */
export async function* expandTemplate(
  entry: BatchEntry,
  registry: RegistryNames,
): AsyncGenerator<BatchEntry> {
  const { reference, hasRepo, hasTag } = checkTemplate(entry);
  const repos = matcher(entry.repos ?? ['**']);
  const tags = matcher(entry.tags ?? ['**']);
  const repositories = hasRepo ? registry.catalogue(reference.host) : once(reference.repository);
  let count = 0;
  for await (const repo of bounded(repositories, entry.where)) {
    if (hasRepo && !repos(repo)) continue;
    checkNames(reference, repo, 'x', entry.where);
    const found = hasTag ? registry.tags({ host: reference.host, repository: repo }) : once('x');
    for await (const tag of bounded(found, entry.where)) {
      if (hasTag && (isReferrersTag(tag) || !tags(tag))) continue;
      checkNames(reference, repo, tag, entry.where);
      yield instance(entry, { repo, tag });
      count++;
    }
  }
  if (count === 0)
    throw failure('NOT_FOUND', entry.where, 'no image of the registry matches', 'see repos, tags');
}

function instance({ source, destination, options, where }: BatchEntry, values: Names): BatchEntry {
  return { source: fill(source, values), destination: fill(destination, values), options, where };
}

interface Names {
  repo: string;
  tag: string;
}

function fill(text: string, values: Names): string {
  return text.replace(holes, (_hole, name: keyof Names) => values[name]);
}

interface Template {
  reference: RegistryReference;
  hasRepo: boolean;
  hasTag: boolean;
}

function checkTemplate(entry: BatchEntry): Template {
  const { source, destination, where } = entry;
  const refuse = (why: string, hint?: string): SeekableErofsError => failure('USAGE', where, why, hint);
  const hasRepo = source.includes('{repo}');
  const hasTag = source.includes('{tag}');
  for (const [hole, key, has] of [
    ['{repo}', 'repos', hasRepo],
    ['{tag}', 'tags', hasTag],
  ] as const) {
    if (has) continue;
    if (destination.includes(hole)) throw refuse(`the destination has ${hole}, the source has not`);
    if (entry[key] !== undefined) throw refuse(`it has "${key}", but its source no ${hole}`);
  }
  const sample = 'x';
  const reference = parseReference(fill(source, { repo: sample, tag: sample }));
  if (reference.transport !== 'docker') {
    throw refuse('a template is of images in a registry', 'source: docker://host/{repo}:{tag}');
  }
  const isWhole = !hasRepo || source.startsWith(`docker://${reference.host}/{repo}`);
  if (!isWhole || (hasRepo && reference.repository !== sample) || (hasTag && reference.tag !== sample)) {
    throw refuse('{repo} and {tag} stand for the whole repository and the whole tag', 'repos: team/*');
  }
  return { reference, hasRepo, hasTag };
}

/** A registry may say anything; `..` in a repository's name would lead out of the destination's folder. */
function checkNames({ host }: RegistryReference, repository: string, tag: string, where: string): void {
  try {
    const parsed = parseReference(`docker://${host}/${repository}:${tag}`) as RegistryReference;
    if (parsed.host === host && parsed.repository === repository && parsed.tag === tag) return;
  } catch {
    // The same as names that are parsed into something else.
  }
  throw failure('CORRUPT', where, `the registry has an image with an illegal name: "${repository}:${tag}"`);
}

/** Names as they come, while they are not absurdly many or long (patterns are slow on long ones). */
async function* bounded(
  names: AsyncIterable<string> | Iterable<string>,
  where: string,
): AsyncGenerator<string> {
  let count = 0;
  for await (const name of names) {
    if (++count > maxNames || name.length > maxNameLength) {
      const why = `the registry has more than ${maxNames} names, or one longer than ${maxNameLength}`;
      throw failure('UNSUPPORTED', where, why, 'list the images');
    }
    yield name;
  }
}

function* once<T>(value: T): Generator<T> {
  yield value;
}

/**
 * Whether a name matches one of the patterns: `*` stands for anything but a slash, `**` for anything, `?` for one character.
 * Exported for its test.
 */
export function matcher(patterns: string[]): (name: string) => boolean {
  const parts = { '**': '.*', '*': '[^/]*', '?': '[^/]' };
  const expressions = patterns.map((pattern) => {
    const source = pattern.replace(/\*\*|[*?]|[\\^$.|+()[\]{}]/g, (found) =>
      found in parts ? parts[found as keyof typeof parts] : `\\${found}`,
    );
    return new RegExp(`^${source}$`, 's');
  });
  return (name) => expressions.some((expression) => expression.test(name));
}
