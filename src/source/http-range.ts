import { failure } from '../errors';
import { publicName } from '../public-name';
import type { ByteSource } from './byte-source';
import {
  createHttpClient,
  networkError,
  statusError,
  type HttpClient,
  type HttpResponse,
} from './http-client';
import { allocateRead, checkRange } from './range';
import { transientFailure } from './transient';

/** How a web server is asked. */
export interface HttpOptions {
  /** Ends the opening; each read has a signal of its own. */
  signal?: AbortSignal | undefined;
  /** The longest silence of the server, in milliseconds; default: 30000. */
  timeout?: number | undefined;
}

/** By which header an object is known to be the same one as before. */
interface Validator {
  header: 'etag' | 'last-modified';
  value: string;
  /** Whether it may be sent as If-Range: servers must not trust a date that is younger than a minute. */
  isStrong: boolean;
}

const youngestStrongDate = 60_000;

/**
 * An object on a web server that answers ranges (RFC 9110, section 14). One byte is fetched at once, for the size. Reads notice a server
 * that ignores ranges (UNSUPPORTED, unless all of the object was asked for), an object that is not the same any more (MISMATCH), answers
 * with other bytes or more of them than were asked for (CORRUPT) and with fewer (IO); IO and NOT_FOUND as the network and the server say.
 */
export async function openHttpSource(location: string, options: HttpOptions = {}): Promise<ByteSource> {
  const url = new URL(location);
  const name = publicName(url.href);
  const client = await createHttpClient({ timeout: options.timeout });
  try {
    const response = await client.get(url, { range: 'bytes=0-0' }, options.signal);
    try {
      return new HttpSource(client, url, name, sizeOf(response, name), validatorOf(response));
    } finally {
      await response.discard();
    }
  } catch (error) {
    await client.close();
    throw error;
  }
}

/**
 * An object of `size` bytes at `url`, read as openHttpSource() does, but through a client that is its owner's: closing the source leaves
 * it open. Nothing is fetched before the first read.
 */
export function httpSource(
  client: Pick<HttpClient, 'get'>,
  url: URL,
  { name, size }: Pick<ByteSource, 'name' | 'size'>,
): ByteSource {
  const lent = { get: client.get.bind(client), close: () => Promise.resolve() };
  return new HttpSource(lent, url, name, size, null);
}

class HttpSource implements ByteSource {
  constructor(
    private readonly client: Pick<HttpClient, 'get' | 'close'>,
    private readonly url: URL,
    readonly name: string,
    readonly size: number,
    private readonly validator: Validator | null,
  ) {}

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    checkRange(this, offset, length);
    const bytes = allocateRead(this.name, length);
    let done = 0;
    for await (const piece of this.stream(offset, length, signal)) {
      bytes.set(piece, done);
      done += piece.length;
    }
    return bytes;
  }

  async *stream(offset: number, length: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
    checkRange(this, offset, length);
    if (length === 0) return;
    const response = await this.client.get(this.url, this.headers(offset, length), signal);
    try {
      this.checkAnswer(response, offset, length);
    } catch (error) {
      await response.discard();
      throw error;
    }
    yield* piecesOfBody(this.name, response, length, signal);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private headers(offset: number, length: number): Record<string, string> {
    const range = `bytes=${offset}-${offset + length - 1}`;
    return this.validator?.isStrong === true ? { range, 'if-range': this.validator.value } : { range };
  }

  private checkAnswer(response: HttpResponse, offset: number, length: number): void {
    const { status } = response;
    if (status === 416) throw this.changed(`it has no bytes from ${offset} on any more`);
    if (status !== 200 && status !== 206) throw statusError(this.name, response);
    checkEncoding(response, this.name);
    this.checkValidator(response);
    if (status === 206) {
      this.checkContentRange(response, offset, length);
      return;
    }
    const size = contentLength(response) ?? this.size;
    if (size !== this.size) throw this.changed(`${size} bytes instead of ${this.size}`);
    if (length !== this.size) throw ignoresRanges(this.name);
  }

  private checkValidator(response: HttpResponse): void {
    if (this.validator === null) return;
    const { header, value } = this.validator;
    const now = response.header(header);
    // An answer to If-Range may leave it out.
    if (now !== undefined && now !== value) throw this.changed(`${header} is ${now} instead of ${value}`);
  }

  private checkContentRange(response: HttpResponse, offset: number, length: number): void {
    const { first, last, size } = parseContentRange(response, this.name);
    if (size !== null && size !== this.size) throw this.changed(`${size} bytes instead of ${this.size}`);
    if (first === offset && last === offset + length - 1) return;
    const asked = `bytes ${offset} to ${offset + length - 1} were asked for`;
    throw failure('CORRUPT', this.name, `the server sends bytes ${first} to ${last}, but ${asked}`);
  }

  private changed(how: string): Error {
    const hint = 'it was replaced while it was read: start again';
    return failure('MISMATCH', this.name, `the object has changed: ${how}`, hint);
  }
}

/** The size of the whole object, from the answer to a request for its first byte. */
function sizeOf(response: HttpResponse, name: string): number {
  const { status } = response;
  // An empty object has no first byte.
  if (status === 416 && response.header('content-range') === 'bytes */0') return 0;
  if (status !== 200 && status !== 206) throw statusError(name, response);
  checkEncoding(response, name);
  const size = status === 206 ? parseContentRange(response, name).size : contentLength(response);
  if (size === null) throw failure('UNSUPPORTED', name, 'the server does not tell the size of the object');
  return size;
}

function contentLength(response: HttpResponse): number | null {
  const text = response.header('content-length');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** What an answer with status 206 says that it holds. A size of null: the server does not know it. */
export function parseContentRange(response: HttpResponse, name: string) {
  const text = response.header('content-range') ?? '';
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\*|\d{1,15})$/.exec(text);
  if (match === null) {
    throw failure(
      'CORRUPT',
      name,
      `the server sends a part, but its Content-Range is "${text.slice(0, 80)}"`,
    );
  }
  const size = match[3] === '*' ? null : Number(match[3]);
  return { first: Number(match[1]), last: Number(match[2]), size };
}

/** Ranges would count in the compressed bytes. */
function checkEncoding(response: HttpResponse, name: string): void {
  const encoding = response.header('content-encoding') ?? 'identity';
  if (encoding === 'identity') return;
  throw failure('UNSUPPORTED', name, `the server compresses the object (Content-Encoding: ${encoding})`);
}

function ignoresRanges(name: string): Error {
  const why = 'the server sends all of the object where a part was asked for';
  return failure(
    'UNSUPPORTED',
    name,
    why,
    'download it and open the file, or use a server that answers ranges',
  );
}

function validatorOf(response: HttpResponse): Validator | null {
  const tag = response.header('etag');
  if (tag?.startsWith('"') === true) return { header: 'etag', value: tag, isStrong: true };
  const modified = response.header('last-modified');
  if (modified === undefined) return null;
  const age = Date.parse(response.header('date') ?? '') - Date.parse(modified);
  return { header: 'last-modified', value: modified, isStrong: age >= youngestStrongDate };
}

async function* piecesOfBody(
  name: string,
  { body }: HttpResponse,
  length: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  let done = 0;
  try {
    for await (const piece of body) {
      done += piece.length;
      if (done > length)
        throw failure('CORRUPT', name, `the server sends more than the ${length} bytes asked for`);
      yield piece;
    }
  } catch (error) {
    throw networkError(name, error, signal);
  }
  if (done < length)
    throw transientFailure(name, `the server sends ${done} bytes where ${length} were asked for`);
}
