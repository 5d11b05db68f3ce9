import type { Readable } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { promisify } from 'node:util';
import type { buildConnector, Dispatcher, EnvHttpProxyAgent } from 'undici';

import { SeekableErofsError, failure } from '../errors';
import { publicName } from '../public-name';
import { publicConnector } from './public-address';
import { atLeastRate, takenAtLeastRate } from './least-rate';
import { transientFailure } from './transient';

const userAgent = 'seekable-erofs-native';
const maxRedirects = 10;
const defaultTimeout = 30_000;
/** What takes longer to come to its end than a connection takes to be made; milliseconds. */
const maxDiscard = 1000;

/** The answer to a request. Either its body is read to the end, or discard() is called. */
export interface HttpResponse {
  /** Where it came from, after all redirects. */
  url: URL;
  status: number;
  /** By lower-case name; of headers that came several times, the first. */
  header(name: string): string | undefined;
  /** All headers of that name, in order. */
  headers(name: string): string[];
  body: AsyncIterable<Buffer>;
  /** Lets go of the body: a short one is read, so that the connection can be used again, a long one is cut off. */
  discard(): Promise<void>;
}

/** How a client connects; all times in milliseconds. */
interface HttpClientOptions {
  /** The longest silence of a server, and the time over which its least rate counts, of what it sends and takes (see least-rate.ts); default: 30000. */
  timeout?: number | undefined;
  /** The longest that a connection may take to be made; default: 10000. */
  connectTimeout?: number | undefined;
  /** To one server at once; default: 16. */
  connections?: number | undefined;
  /** Whom to trust, and as whom to appear; default: what Node trusts. */
  tls?: Pick<ConnectionOptions, 'secureContext' | 'rejectUnauthorized'> | undefined;
  /** In the place of NO_PROXY. */
  noProxy?: string | undefined;
  /** The hosts that may be at private addresses (see public-address.ts); default: all. */
  privateHosts?: readonly string[] | undefined;
}

/** A request other than a plain GET. */
export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  headers?: Readonly<Record<string, string>> | undefined;
  /** The Authorization header: redirects to other origins don't carry it on. */
  authorization?: string | null | undefined;
  body?: Buffer | Readable | undefined;
  /** The longest silence of the server, in place of the client's, in milliseconds. */
  timeout?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** HTTP and HTTPS, through the proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name. */
export interface HttpClient {
  /**
   * Follows redirects, but never from https to http. Credentials in the URL are sent as Basic authentication, and not to other origins.
   * IO when the network fails (see transient.ts), CANCELLED when `signal` is aborted; the status is the caller's to judge.
   */
  get(url: URL, headers: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<HttpResponse>;
  /** As get(), for any method. Of requests with a body, redirects are the caller's to judge. */
  send(url: URL, request: HttpRequest): Promise<HttpResponse>;
  /** Cuts off what is under way. */
  close(): Promise<void>;
}

/** A client. USAGE when a proxy's URL is malformed. */
export async function createHttpClient(options: HttpClientOptions = {}): Promise<HttpClient> {
  // Loaded here only: most runs of the program never need it.
  const { EnvHttpProxyAgent, buildConnector, request } = await import('undici');
  const agent = createAgent(EnvHttpProxyAgent, buildConnector, options);
  const { timeout: ownTimeout = defaultTimeout } = options;
  const send = async (url: URL, { method, headers, body, timeout, signal }: HttpRequest) => {
    const answer = await request(url, {
      dispatcher: agent,
      method,
      ...(headers && { headers }),
      ...(timeout !== undefined && { headersTimeout: timeout }),
      ...(body === undefined ? signal && { signal } : watched(body, ownTimeout, signal)),
    });
    return responseOf(url, answer, timeout ?? ownTimeout);
  };
  return {
    get: (url, headers, signal) => follow(send, url, { method: 'GET', headers, signal }),
    send: (url, request) => follow(send, url, request),
    close: () => agent.destroy(),
  };
}

/** A body that ends its request when the server takes it too slowly. */
function watched(body: Buffer | Readable, time: number, signal: AbortSignal | undefined) {
  const stalled = new AbortController();
  const pieces = takenAtLeastRate(body, time, (error) => {
    stalled.abort(error);
  });
  return {
    // Readable.from() would ask for a piece more than the server takes.
    body: pieces as unknown as Readable,
    signal: signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]),
  };
}

function createAgent(
  Agent: typeof EnvHttpProxyAgent,
  build: typeof buildConnector,
  options: HttpClientOptions,
): EnvHttpProxyAgent {
  const { timeout = defaultTimeout, connectTimeout = 10_000, connections = 16, tls, noProxy } = options;
  const { privateHosts } = options;
  const connect = { timeout: connectTimeout, ...tls };
  const guarded =
    privateHosts &&
    publicConnector(privateHosts, (lookup) => build({ ...connect, ...(lookup && { lookup }) }));
  try {
    return new Agent({
      connections,
      connect: guarded ?? connect,
      // Behind a proxy, too, it is the server that is trusted or not.
      ...(tls && { requestTls: tls }),
      ...(noProxy !== undefined && { noProxy }),
      headersTimeout: timeout,
      bodyTimeout: timeout,
      // Plain HTTP as proxies expect it: many refuse CONNECT to anything but the port of HTTPS.
      proxyTunnel: false,
    });
  } catch {
    // Its message would repeat the URL, and with it a password.
    throw failure('USAGE', 'HTTP_PROXY or HTTPS_PROXY', 'it is no valid URL', 'http://host:port');
  }
}

function responseOf(
  url: URL,
  { statusCode, headers, body }: Dispatcher.ResponseData,
  timeout: number,
): HttpResponse {
  const all = (name: string): string[] => [headers[name] ?? []].flat();
  return {
    url,
    status: statusCode,
    header: (name) => all(name)[0],
    headers: all,
    body: untilFree(atLeastRate(body as AsyncIterable<Buffer>, timeout)),
    discard: () => discard(body),
  };
}

/** undici gives a connection back in the next turn of the event loop: whoever asks at once would have another one made. */
const isFree = promisify(setImmediate);

async function* untilFree(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* body;
  await isFree();
}

async function discard(body: Dispatcher.ResponseData['body']): Promise<void> {
  await body.dump({ limit: 16 * 1024, signal: AbortSignal.timeout(maxDiscard) }).catch(() => undefined); // whatever happened to it, nobody wants it
  await isFree();
}

type Send = (url: URL, request: HttpRequest) => Promise<HttpResponse>;

async function follow(send: Send, start: URL, request: HttpRequest): Promise<HttpResponse> {
  const what = publicName(start.href);
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const { headers, authorization = basic(start), signal } = request;
    const credentials = url.origin === start.origin && authorization !== null ? { authorization } : {};
    const response = await send(withoutCredentials(url), {
      ...request,
      headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...credentials, ...headers },
    }).catch((error: unknown) => {
      throw networkError(what, error, signal);
    });
    const target = request.body === undefined ? redirectTarget(response, url) : null;
    if (target === null) return response;
    await response.discard();
    if (url.protocol === 'https:' && target.protocol !== 'https:') {
      throw failure('IO', what, `the server redirects to ${target.protocol}//, which is not encrypted`);
    }
    url = target;
  }
  throw failure('IO', what, `the server redirects more than ${maxRedirects} times`);
}

function redirectTarget(response: HttpResponse, base: URL): URL | null {
  const location = response.header('location');
  if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return null;
  const target = URL.canParse(location, base.href) ? new URL(location, base.href) : null;
  return target !== null && /^https?:$/.test(target.protocol) ? target : null;
}

/** The Authorization header for the credentials in a URL; null without any. */
function basic({ username, password }: URL): string | null {
  if (username === '' && password === '') return null;
  return basicAuthorization(decode(username), decode(password));
}

/** The Authorization header for a name and a password. */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray percent sign stands for itself
  }
}

function withoutCredentials(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

const transientCodes = new Set([
  ...['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'ENETDOWN'],
  ...['ENETUNREACH', 'EHOSTUNREACH', 'UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT'],
  ...['UND_ERR_BODY_TIMEOUT', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
]);

/** What the network threw as an error of this package about `what`: CANCELLED, or IO, transient when another attempt may help. */
export function networkError(what: string, error: unknown, signal?: AbortSignal): SeekableErofsError {
  if (error instanceof SeekableErofsError) return error;
  if (signal?.aborted === true)
    return new SeekableErofsError('CANCELLED', { what, why: 'cancelled', cause: error });
  const { message, code = '' } = error as NodeJS.ErrnoException;
  if (code === 'ENOTFOUND') {
    const { hostname = 'the host' } = error as { hostname?: string };
    const hint = 'is it spelt right, and does this machine reach its name server?';
    return new SeekableErofsError('IO', {
      what,
      why: `the name ${hostname} is not known`,
      hint,
      cause: error,
    });
  }
  const why = message === '' ? `the connection failed: ${code}` : message;
  if (transientCodes.has(code)) return transientFailure(what, why, undefined, error);
  const hint = /CERT|SIGNED|SIGNATURE|ISSUER/.test(code)
    ? 'NODE_EXTRA_CA_CERTS=FILE adds an authority to trust'
    : undefined;
  return new SeekableErofsError('IO', { what, why, hint, cause: error });
}

/** The error for a status that is no success. NOT_FOUND for 404 and 410, else IO, transient for a busy or broken server. */
export function statusError(what: string, response: HttpResponse): SeekableErofsError {
  const { status } = response;
  const why = `the server answers with status ${status}`;
  if (status === 404 || status === 410) return failure('NOT_FOUND', what, why);
  if (isTransientStatus(status))
    return transientFailure(what, why, retryAfter(response.header('retry-after')));
  const hint = status === 401 || status === 403 ? 'it wants credentials, or others' : undefined;
  return failure('IO', what, why, hint);
}

/** Whether a server that answers so may have recovered in a moment. */
export function isTransientStatus(status: number): boolean {
  return [408, 425, 429, 500, 502, 503, 504].includes(status);
}

/** Milliseconds that a Retry-After header asks for; it has seconds or a date. */
export function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
