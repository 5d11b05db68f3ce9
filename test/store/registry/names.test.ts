import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { listRepositories, listTags } from '../../../src/store/registry/names';
import type { RegistryCall } from '../../support/fake-registry';
import { caught } from '../../support/caught';
import { TokenServer } from '../../support/token-server';
import { quick, registry, useRegistry } from './sample';

useRegistry();

async function all(names: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const name of names) found.push(name);
  return found;
}

const repositories = (): Promise<string[]> => all(listRepositories(registry.host, quick()));
const tags = (): Promise<string[]> => all(listTags({ host: registry.host, repository: 'team/app' }, quick()));

interface Page {
  status?: number;
  link?: string;
  body: unknown;
}

/** Answers the lists of names by what `page` says for the `last` of their query. */
function serve(page: (last: string, call: RegistryCall) => Page): void {
  registry.misbehave = (call, response: ServerResponse) => {
    if (!/^_catalog$|\/tags\/list$/.test(call.path)) return false;
    const { status = 200, link, body } = page(call.query.get('last') ?? '', call);
    response.writeHead(status, link === undefined ? {} : { link });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
    return true;
  };
}

/** A hundred names in pages of ten, with links as registries write them. */
function servePages(member: string, link: (path: string, last: string) => string): string[] {
  const names = Array.from({ length: 100 }, (_, i) => `name-${String(i).padStart(3, '0')}`);
  serve((last, { path }) => {
    const from = names.indexOf(last) + 1;
    const page = names.slice(from, from + 10);
    const end = from + 10 >= names.length;
    return { body: { [member]: page }, ...(end ? {} : { link: link(path, page.at(-1)!) }) };
  });
  return names;
}

test('a catalogue of many pages', async () => {
  const names = servePages('repositories', (path, last) => `</v2/${path}?last=${last}&n=10>; rel="next"`);
  expect(await repositories()).toEqual(names);
  const calls = registry.calls.filter(({ path }) => path === '_catalog');
  expect(calls.map(({ query }) => query.get('n'))).toEqual([
    '1000',
    ...Array.from({ length: 9 }, () => '10'),
  ]);
});

test('tags of many pages, with links that are whole URLs of another scheme', async () => {
  const names = servePages(
    'tags',
    (path, last) => `<https://${registry.host}/v2/${path}?last=${last}>; rel=next`,
  );
  expect(await tags()).toEqual(names);
});

test('the reader that has enough ends the asking', async () => {
  servePages('tags', (path, last) => `</v2/${path}?last=${last}>; rel="next"`);
  for await (const name of listTags({ host: registry.host, repository: 'team/app' }, quick())) {
    expect(name).toBe('name-000');
    break;
  }
  expect(registry.calls.filter(({ path }) => path.endsWith('tags/list'))).toHaveLength(1);
});

test.each([[{ repositories: [] }], [{ repositories: null }], [{}]])(
  'an empty catalogue: %j',
  async (body) => {
    serve(() => ({ body }));
    expect(await repositories()).toEqual([]);
  },
);

test.each([
  ['no JSON', 'CORRUPT'],
  [[], 'CORRUPT'],
  [{ repositories: 'x' }, 'CORRUPT'],
  [{ repositories: ['x', 1] }, 'CORRUPT'],
])('what is no list of names: %j', async (body, code) => {
  serve(() => ({ body }));
  expect(await caught(repositories)).toMatchObject({ code });
});

test.each([
  '<http://127.0.0.2:1/v2/_catalog?last=a>; rel="next"',
  '</v2/other?last=a>; rel="next"',
  '<//x y>; rel="next"',
])('a list that goes on elsewhere is not followed: %s', async (link) => {
  serve(() => ({ link, body: { repositories: ['a'] } }));
  expect(await caught(repositories)).toMatchObject({ code: 'CORRUPT', what: `docker://${registry.host}/` });
});

test('a link that leads to no next page is none', async () => {
  serve(() => ({ link: '</v2/_catalog>; rel="first"', body: { repositories: ['a'] } }));
  expect(await repositories()).toEqual(['a']);
});

test.each([
  [401, 'IO'],
  [403, 'IO'],
])('status %i', async (status, code) => {
  serve(() => ({ status, body: { errors: [{ code: 'DENIED', message: 'administrators only' }] } }));
  const error = await caught(repositories);
  expect(error).toMatchObject({ code });
  expect(error.why).toContain('administrators only');
});

test('a registry without a catalogue, a repository that is not there', async () => {
  expect(await caught(repositories)).toMatchObject({
    code: 'UNSUPPORTED',
    hint: 'name the repositories yourself',
  });
  serve(() => ({ status: 404, body: { errors: [{ code: 'NAME_UNKNOWN' }] } }));
  expect(await caught(tags)).toMatchObject({ code: 'NOT_FOUND' });
});

test('a token for the catalogue is one of the registry, of no repository', async () => {
  const server = await TokenServer.start('fake');
  try {
    registry.auth = { kind: 'token', server };
    registry.misbehave = ({ path, headers }, response) => {
      if (path !== '_catalog' || headers.authorization === undefined) return false;
      response.end('{"repositories":["a"]}');
      return true;
    };
    expect(await repositories()).toEqual(['a']);
    const scopes = server.requests.flatMap(({ url, body }) => [...url.searchParams, ...body]);
    const asked = scopes.filter(([key]) => key === 'scope').map(([, scope]) => scope);
    expect(asked).toContain('registry:catalog:*');
    expect(asked.filter((scope) => scope.startsWith('repository::'))).toEqual([]);
  } finally {
    await server.stop();
  }
});

test('a busy registry is asked again', async () => {
  let refusals = 2;
  serve(() => (refusals-- > 0 ? { status: 503, body: '' } : { body: { repositories: ['a'] } }));
  expect(await repositories()).toEqual(['a']);
});

test('cancelled, it ends', async () => {
  const controller = new AbortController();
  const names = listRepositories(registry.host, { ...quick(), signal: controller.signal });
  serve(() => {
    controller.abort();
    return { status: 503, body: '' };
  });
  expect(await caught(() => all(names))).toMatchObject({ code: 'CANCELLED' });
});
