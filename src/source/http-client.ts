import type { EnvHttpProxyAgent } from 'undici';

import { SeekableErofsError, failure } from '../errors';
import { transientFailure } from './transient';

const userAgent = 'seekable-erofs-native';
const maxRedirects = 10;
const maxConnections = 16;
const connectTimeout = 10_000;

/** The answer to a GET. Either its body is read to the end, or discard() is called. */
export interface HttpResponse {
  status: number;
  /** By lower-case name; of headers that came several times, the first. */
  header(name: string): string | undefined;
  body: AsyncIterable<Buffer>;
  /** Lets go of the body: a short one is read, so that the connection can be used again, a long one is cut off. */
  discard(): Promise<void>;
}

/** GET over HTTP and HTTPS, through the proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name. */
export interface HttpClient {
  /**
   * Follows redirects, but never from https to http. Credentials in the URL are sent as Basic authentication, and not to other origins.
   * IO when the network fails (see transient.ts), CANCELLED when `signal` is aborted; the status is the caller's to judge.
   */
  get(url: URL, headers: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<HttpResponse>;
  /** Cuts off what is under way. */
  close(): Promise<void>;
}

/** A client; `timeout` is the longest silence of a server, in milliseconds. USAGE when a proxy's URL is malformed. */
export async function createHttpClient(timeout = 30_000): Promise<HttpClient> {
  // Loaded here only: most runs of the program never need it.
  const { EnvHttpProxyAgent, request } = await import('undici');
  const agent = createAgent(EnvHttpProxyAgent, timeout);
  const send = async (
    url: URL,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<HttpResponse> => {
    const answer = await request(url, { dispatcher: agent, headers, ...(signal && { signal }) });
    const { statusCode, headers: answered, body } = answer;
    return {
      status: statusCode,
      header: (name) => [answered[name]].flat()[0],
      body,
      discard: () => discard(body),
    };
  };
  return {
    get: (url, headers, signal) => follow(send, url, headers, signal),
    close: () => agent.destroy(),
  };
}

function createAgent(Agent: typeof EnvHttpProxyAgent, timeout: number): EnvHttpProxyAgent {
  try {
    return new Agent({
      connections: maxConnections,
      connect: { timeout: connectTimeout },
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

async function discard(body: { dump(options: { limit: number }): Promise<void> }): Promise<void> {
  await body.dump({ limit: 16 * 1024 }).catch(() => undefined); // whatever happened to it, nobody wants it
}

type Send = (url: URL, headers: Record<string, string>, signal?: AbortSignal) => Promise<HttpResponse>;

async function follow(
  send: Send,
  start: URL,
  headers: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<HttpResponse> {
  const what = displayUrl(start);
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const credentials = url.origin === start.origin ? authorization(start) : {};
    const response = await send(
      withoutCredentials(url),
      { 'user-agent': userAgent, 'accept-encoding': 'identity', ...credentials, ...headers },
      signal,
    ).catch((error: unknown) => {
      throw networkError(what, error, signal);
    });
    const target = redirectTarget(response, url);
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

function authorization({ username, password }: URL): { authorization?: string } {
  if (username === '' && password === '') return {};
  const pair = [username, password].map(decode).join(':');
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
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

/** A URL as errors show it: without credentials, and without a query, which may hold a signature. */
export function displayUrl({ origin, pathname, search }: URL): string {
  return `${origin}${pathname}${search === '' ? '' : '?…'}`;
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
  const isTransient = [408, 425, 429, 500, 502, 503, 504].includes(status);
  if (isTransient) return transientFailure(what, why, retryAfter(response.header('retry-after')));
  const hint = status === 401 || status === 403 ? 'it wants credentials, or others' : undefined;
  return failure('IO', what, why, hint);
}

/** Milliseconds; the header has seconds or a date. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
