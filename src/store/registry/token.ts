import { failure } from '../../errors';
import { parseJsonObject, type JsonObject } from '../../oci/json';
import { basicAuthorization, type HttpClient, type HttpResponse } from '../../source/http-client';
import type { Credentials } from './credentials';
import { readUpTo } from './body';
import { answerError } from './refusal';

/** What a token is to allow, e.g. `repository:library/alpine:pull`. */
export type Scope = string;

/** For the list of a registry's repositories, which belongs to none of them. */
export const catalogueScope: Scope = 'registry:catalog:*';

export function repositoryScope(repository: string, actions: 'pull' | 'pull,push'): Scope {
  return `repository:${repository}:${actions}`;
}

/** Each resource once, with all that is wanted of it, in a fixed order. */
export function unionOf(scopes: readonly Scope[]): Scope[] {
  const wanted = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(':');
    const [resource, actions] = [scope.slice(0, colon), scope.slice(colon + 1)];
    wanted.set(resource, new Set([...(wanted.get(resource) ?? []), ...actions.split(',')]));
  }
  return [...wanted].map(([resource, actions]) => `${resource}:${[...actions].sort().join(',')}`).sort();
}

/** What a registry's Bearer challenge names. */
export interface TokenServer {
  realm: URL;
  service: string | null;
}

/** A token, and until when it is used; milliseconds, as of performance.now(). */
export interface Token {
  value: string;
  expires: number;
}

const maxAnswer = 1 << 20;
/** What the specification says of a token that doesn't say it itself. */
const defaultLifetime = 60;
/** A token that ends within this is not sent any more: requests take their time. */
const margin = 10_000;

/**
 * Asks a token server for a token that allows `scopes`: by OAuth2 for an identity token, else by GET with the name and password, or
 * without any. Redirects to other origins don't carry the credentials on.
 */
export async function fetchToken(
  client: HttpClient,
  server: TokenServer,
  scopes: readonly Scope[],
  credentials: Credentials | null,
  signal?: AbortSignal,
): Promise<Token> {
  const asked = performance.now();
  const { origin, pathname } = server.realm;
  const what = `token server ${origin}${pathname}`;
  const response =
    credentials?.identityToken === undefined
      ? await get(client, server, scopes, credentials, signal)
      : await post(client, server, scopes, credentials.identityToken, signal);
  if (response.status !== 200) {
    const used =
      credentials === null ? null : `the credentials of ${credentials.origin} were sent: log in again`;
    throw await answerError(
      what,
      response,
      used ?? 'no credentials were sent: log in, or give --authfile FILE',
    );
  }
  return parseToken(await readUpTo(response, maxAnswer, what), what, asked);
}

function get(
  client: HttpClient,
  { realm, service }: TokenServer,
  scopes: readonly Scope[],
  credentials: Credentials | null,
  signal?: AbortSignal,
): Promise<HttpResponse> {
  const url = new URL(realm);
  if (service !== null) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const login = credentials?.login;
  if (login !== undefined) url.searchParams.set('account', login.username);
  const authorization = login === undefined ? null : basicAuthorization(login.username, login.password);
  return client.send(url, { method: 'GET', authorization, signal });
}

function post(
  client: HttpClient,
  { realm, service }: TokenServer,
  scopes: readonly Scope[],
  identityToken: string,
  signal?: AbortSignal,
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    ...(service !== null && { service }),
    scope: scopes.join(' '),
    client_id: 'seekable-erofs-native',
    refresh_token: identityToken,
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return client.send(realm, {
    method: 'POST',
    authorization: null,
    headers,
    body: Buffer.from(form.toString()),
    signal,
  });
}

function parseToken(bytes: Buffer, what: string, asked: number): Token {
  let object: JsonObject;
  try {
    object = parseJsonObject(bytes, what);
  } catch {
    throw failure('CORRUPT', what, 'its answer is no JSON object'); // and may hold a secret
  }
  const { token, access_token: accessToken, expires_in: lifetime = defaultLifetime } = object;
  const value = [token, accessToken].find((text) => typeof text === 'string' && text !== '');
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw failure('CORRUPT', what, 'its answer has no token');
  }
  const seconds = typeof lifetime === 'number' && lifetime > 0 ? lifetime : defaultLifetime;
  // One that lives shorter than the margin is of use all the same.
  const useful = Math.max(seconds * 1000 - margin, seconds * 500);
  return { value, expires: asked + useful };
}
