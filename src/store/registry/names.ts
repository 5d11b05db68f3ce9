import { failure } from '../../errors';
import { maxListSize } from '../../format/json';
import { parseJsonObject } from '../../oci/json';
import type { RegistryReference } from '../../oci/reference';
import type { HttpResponse } from '../../source/http-client';
import { readUpTo } from './body';
import { RegistryClient } from './client';
import type { StoreOptions } from './options';
import { nextPage } from './pages';

/** Names asked for at once; registries may give fewer. */
const pageSize = 1000;
/** A registry whose pages never end is broken, or worse. */
const maxPages = 10_000;

/** The repositories of a registry, page by page, in its order. Many registries show them to administrators only, or not at all. */
export async function* listRepositories(host: string, options: StoreOptions): AsyncGenerator<string> {
  const client = await RegistryClient.open({ host, repository: '' }, 'pull', options);
  try {
    yield* pages(client, new URL(`/v2/_catalog?n=${pageSize}`, client.origin), 'repositories');
  } finally {
    await client.close();
  }
}

/** The tags of a repository, page by page, in the registry's order. */
export async function* listTags(
  place: Pick<RegistryReference, 'host' | 'repository'>,
  options: StoreOptions,
): AsyncGenerator<string> {
  const client = await RegistryClient.open(place, 'pull', options);
  try {
    yield* pages(client, client.url(`tags/list?n=${pageSize}`), 'tags');
  } finally {
    await client.close();
  }
}

async function* pages(client: RegistryClient, first: URL, member: string): AsyncGenerator<string> {
  let next: URL | null = first;
  for (let page = 0; next !== null; page++) {
    const url: URL = next;
    if (page === maxPages) {
      throw failure('UNSUPPORTED', client.name, `its ${member} have more than ${maxPages} pages`);
    }
    const { names, link } = await client.retrying(() => readPage(client, url, member));
    yield* names;
    next = nextPage(link, url, client.name);
  }
}

async function readPage(client: RegistryClient, url: URL, member: string) {
  const what = `${client.name}, its ${member}`;
  const response = await client.send(url, { method: 'GET' });
  if (response.status !== 200) throw await refused(client, response, what, member);
  const link = response.header('link');
  const object = parseJsonObject(await readUpTo(response, maxListSize, what), what, maxListSize);
  const names = object[member] ?? []; // null is Go's empty list
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw failure('CORRUPT', what, `"${member}" is no list of names`);
  }
  return { names, link };
}

async function refused(client: RegistryClient, response: HttpResponse, what: string, member: string) {
  if (member !== 'repositories' || (response.status !== 404 && response.status !== 405)) {
    return client.refused(what, response);
  }
  await response.discard();
  return failure('UNSUPPORTED', what, 'the registry does not list them', 'name the repositories yourself');
}
