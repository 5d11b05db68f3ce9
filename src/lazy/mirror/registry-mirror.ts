import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeekableErofsError, fromSystemError } from '../../errors';
import { checkDigestOf, digestOf, formatDigest, isDigest, parseDigest } from '../../format/digest';
import { maxDocumentSize, parseJson } from '../../format/json';
import { isIndexType, isManifestType, mediaTypes } from '../../format/media-types';
import type { HttpResponse } from '../../source/http-client';
import { readUpTo } from '../../store/registry/body';
import type { CachedImages } from '../erofs-cache/cached-images';
import type { LazyAccess } from '../messages';
import { parseListen } from '../../listening';
import { isOwnHost, MirrorError, parseRequest, type MirrorRequest } from './request';
import { ManifestMemory, type KnownManifest } from './manifest-memory';
import { SeenManifests, WrongImage } from './seen-manifests';
import { Upstreams, type Repository } from './upstream';

/** A manifest's answer waits at most so long for its layers; in milliseconds. */
const addTime = 60_000;
/**
 * Of an image that is not what its manifest says. After 4xx and 5xx containerd asks the next host of its list, which is the registry itself, and
 * compares nothing but the DiffID; at a redirection that leads nowhere it gives up.
 */
const refusedStatus = 300;
const maxConnections = 512;
const maxAccept = 4096;
/** A port is free again soon after the server before has ended; in milliseconds. */
const listenTime = 5000;
const listenPause = 100;
/** Headers of an upstream's answer that are passed on. */
const passedOn = [
  'content-type',
  'content-length',
  'content-range',
  'accept-ranges',
  'docker-content-digest',
  'etag',
  'last-modified',
  'link',
  'oci-filters-applied',
] as const;

interface MirrorOptions {
  /** Address and port. */
  listen: string;
  /** Registries that are asked on behalf of clients, and no others. */
  upstreams: readonly string[];
  access: LazyAccess;
  images: Pick<CachedImages, 'put' | 'isShown'>;
  onWarning: (line: string) => void;
}

/** A read-only mirror of registries. Starts it. @returns what ends it @throws IO when the address can't be had */
export async function startMirror(options: MirrorOptions): Promise<() => Promise<void>> {
  const mirror = new RegistryMirror(options);
  await mirror.listen();
  return () => mirror.close();
}

/**
 * Answers the distribution specification's GET and HEAD requests with what the named upstream says: manifests checked and whole, blobs as they
 * come, and cut off before their end when they turn out wrong. Credentials are the mirror's own: a client's are never passed on.
 */
class RegistryMirror {
  private readonly server: Server;
  private readonly upstreams: Upstreams;
  private readonly seen: SeenManifests;
  private readonly memory = new ManifestMemory();
  private readonly upstreamHosts: string[];

  constructor(private readonly options: MirrorOptions) {
    this.upstreamHosts = options.upstreams.map((host) => host.toLowerCase());
    const access = { ...options.access, privateHosts: this.upstreamHosts };
    this.upstreams = new Upstreams(access);
    this.seen = new SeenManifests(options.images, access, options.onWarning);
    this.server = createServer((request, response) => {
      void this.answer(request, response);
    });
    this.server.maxConnections = maxConnections;
    this.server.requestTimeout = 30_000;
  }

  async listen(): Promise<void> {
    const { host, port } = parseListen(this.options.listen);
    for (const deadline = performance.now() + listenTime; ;) {
      try {
        await new Promise<void>((resolve, reject) => {
          this.server.once('error', reject).listen({ host, port }, () => {
            this.server.off('error', reject);
            resolve();
          });
        });
        return;
      } catch (error) {
        const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (!isTaken || performance.now() > deadline) throw fromSystemError(this.options.listen, error);
        await sleep(listenPause);
      }
    }
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await this.upstreams.close();
  }

  private async answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      gone.abort();
    });
    response.on('error', () => undefined);
    try {
      const { host } = parseListen(this.options.listen);
      if (!isOwnHost(incoming.headers.host, host))
        throw new MirrorError(421, 'DENIED', 'this host is another');
      const asked = parseRequest(incoming.method, incoming.url, this.upstreamHosts);
      if (asked === null) response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      else await this.pass(asked, incoming, response, gone.signal);
    } catch (error) {
      this.refuse(error, incoming, response);
    }
  }

  private async pass(
    asked: MirrorRequest,
    incoming: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const repository = await this.upstreams.repository(asked.host, asked.repository);
    const { client } = repository;
    const { kind, reference, query, method } = asked;
    const isRead = method === 'GET' && kind === 'manifests';
    const known = isRead ? this.memory.get(placeOf(asked), reference) : undefined;
    if (known !== undefined) return this.giveManifest(asked, known, repository, response);
    const url = new URL(`${client.url(`${kind}/${reference}`).href}${query}`);
    const answer = await client.send(url, { method, headers: headersFor(asked, incoming), signal });
    if (answer.status !== 200 && answer.status !== 206) return this.passRefusal(answer, response);
    if (method === 'HEAD') {
      await answer.discard();
      if (kind === 'manifests') await this.foresee(asked, answer, repository, incoming);
      response.writeHead(answer.status, passedHeaders(answer)).end();
      return;
    }
    if (kind === 'manifests')
      return this.giveManifest(asked, await this.readManifest(asked, answer), repository, response);
    const headers = passedHeaders(answer);
    response.writeHead(answer.status, headers);
    const isWhole = kind === 'blobs' && answer.status === 200;
    const body = isWhole ? checked(answer.body, reference) : answer.body;
    await pipeline(body, response, { signal });
  }

  /**
   * A client that has the manifest from before asks only what a tag names, and for layers next: these are in the cache before it has its answer.
   * The manifest is read for that, once, and given to the client if it asks for it after all.
   */
  private async foresee(
    asked: MirrorRequest,
    answer: HttpResponse,
    repository: Repository,
    incoming: IncomingMessage,
  ): Promise<void> {
    const { reference } = asked;
    const place = placeOf(asked);
    const isByDigest = isDigest(reference);
    const digest = isByDigest ? reference : answer.header('docker-content-digest');
    if (digest === undefined || !isDigest(digest)) return;
    if (!isByDigest) this.seen.onTag(place, reference, digest);
    await this.inTime(asked, async () => {
      if (await this.seen.isSettled(place, digest)) return;
      const known = this.memory.get(place, digest);
      const manifest =
        known ?? (await this.fetchManifest({ ...asked, reference: digest }, repository, incoming));
      await this.addLayers({ ...asked, reference: digest }, manifest, repository);
    });
  }

  private async fetchManifest(
    asked: MirrorRequest,
    { client }: Repository,
    incoming: IncomingMessage,
  ): Promise<KnownManifest> {
    const url = client.url(`manifests/${asked.reference}`);
    const answer = await client.send(url, { method: 'GET', headers: headersFor(asked, incoming) });
    if (answer.status === 200) return this.readManifest(asked, answer);
    throw await client.refused(placeOf(asked), answer);
  }

  private async readManifest(asked: MirrorRequest, answer: HttpResponse): Promise<KnownManifest> {
    const { reference } = asked;
    const what = `${placeOf(asked)}, ${reference}`;
    const bytes = await readUpTo(answer, maxDocumentSize, what);
    if (isDigest(reference)) checkDigestOf(what, reference, bytes);
    const manifest = { bytes, headers: passedHeaders(answer) };
    this.memory.set(placeOf(asked), isDigest(reference) ? reference : digestOf(bytes), manifest);
    return manifest;
  }

  private async giveManifest(
    asked: MirrorRequest,
    manifest: KnownManifest,
    repository: Repository,
    response: ServerResponse,
  ): Promise<void> {
    const { reference } = asked;
    const { bytes, headers } = manifest;
    const isByDigest = isDigest(reference);
    const digest = isByDigest ? reference : digestOf(bytes);
    const own = { 'content-length': bytes.length, 'docker-content-digest': digest };
    const answer = { ...headers, ...own };
    try {
      await this.inTime(asked, () => this.addLayers(asked, manifest, repository));
    } catch (error) {
      if (!isByDigest) throw error;
      // Of what it knows the digest of, containerd asks the next host whatever the status: an answer has to begin, and break off.
      response.writeHead(200, answer).flushHeaders();
      response.socket?.destroySoon();
      return;
    }
    response.writeHead(200, answer).end(bytes);
  }

  private async addLayers(
    asked: MirrorRequest,
    { bytes, headers }: KnownManifest,
    { store }: Repository,
  ): Promise<void> {
    const { reference } = asked;
    const place = placeOf(asked);
    const isByDigest = isDigest(reference);
    const digest = isByDigest ? reference : digestOf(bytes);
    const descriptor = {
      mediaType: typeOf(bytes, headers['content-type'] ?? ''),
      digest,
      size: bytes.length,
    };
    const seen = { place, tag: isByDigest ? null : reference, descriptor, bytes };
    await this.seen.onManifest(seen, this.memory.over(place, store));
  }

  /**
   * Waits for layers, but not for ever. An image that can't be read lazily is the client's to pull, and to check, as from the upstream itself.
   * @throws MirrorError for an image that is not what its manifest says
   */
  private async inTime(asked: MirrorRequest, add: () => Promise<void>): Promise<void> {
    const adding = add().catch((error: unknown) => {
      if (error instanceof WrongImage) throw new MirrorError(refusedStatus, 'DENIED', error.message);
      this.options.onWarning(
        `${placeOf(asked)}, ${asked.reference}: not in the cache: ${(error as Error).message}`,
      );
    });
    await Promise.race([adding, sleep(addTime, undefined, { ref: false })]);
  }

  /** The upstream's status without its challenge: credentials are the mirror's, and the client has none to give. */
  private async passRefusal(answer: HttpResponse, response: ServerResponse): Promise<void> {
    await answer.discard();
    const { status } = answer;
    const known: Record<number, [status: number, code: string, message: string]> = {
      401: [403, 'DENIED', 'the upstream refuses the credentials of this mirror'],
      403: [403, 'DENIED', 'the upstream refuses this to the mirror'],
      404: [404, 'NAME_UNKNOWN', 'the upstream does not have it'],
      416: [416, 'UNSUPPORTED', 'there is no such range'],
      429: [429, 'TOOMANYREQUESTS', 'the upstream is asked too often'],
    };
    const [code, name, message] = known[status] ?? [
      502,
      'UNKNOWN',
      `the upstream answers with status ${status}`,
    ];
    const later = answer.header('retry-after');
    if (later !== undefined && /^\d{1,6}$/.test(later)) response.setHeader('retry-after', later);
    throw new MirrorError(code, name, message);
  }

  private refuse(error: unknown, { method, url }: IncomingMessage, response: ServerResponse): void {
    if (response.headersSent || response.destroyed) {
      if (!response.destroyed) {
        this.options.onWarning(`${method ?? ''} ${shortened(url)}: ${(error as Error).message}`);
        response.destroy(); // before its end, so that nobody takes it for whole
      }
      return;
    }
    const known = error instanceof MirrorError ? error : upstreamError(error);
    if (!(error instanceof MirrorError))
      this.options.onWarning(`${method ?? ''} ${shortened(url)}: ${(error as Error).message}`);
    const text = JSON.stringify({ errors: [{ code: known.code, message: known.message }] });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    if (known.status === 405) response.setHeader('allow', 'GET, HEAD');
    // HEAD has nothing else that says why.
    const phrase = known.message.slice(0, 500).replace(/[^\x20-\x7e]/g, '?');
    response.writeHead(known.status, phrase, headers).end(method === 'HEAD' ? undefined : text);
  }
}

const placeOf = ({ host, repository }: MirrorRequest): string => `${host}/${repository}`;

function headersFor({ kind }: MirrorRequest, { headers }: IncomingMessage): Record<string, string> {
  const { accept, range } = headers;
  const passed: Record<string, string> = {};
  if (kind !== 'blobs' && accept !== undefined && accept.length <= maxAccept) passed['accept'] = accept;
  if (kind === 'blobs' && range !== undefined && /^bytes=[\d,\s-]{1,200}$/.test(range))
    passed['range'] = range;
  return passed;
}

function passedHeaders(answer: HttpResponse): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of passedOn) {
    const value = answer.header(name);
    if (value !== undefined && /^[\x20-\x7e]{0,1024}$/.test(value)) headers[name] = value;
  }
  return headers;
}

/** A blob's bytes, the last of them only when all are what the digest says. @throws MISMATCH */
async function* checked(body: AsyncIterable<Buffer>, digest: string): AsyncGenerator<Buffer> {
  const { algorithm } = parseDigest(digest);
  const hash = createHash(algorithm);
  let last: Buffer | null = null;
  for await (const piece of body) {
    if (piece.length === 0) continue;
    if (last !== null) yield last;
    hash.update(piece);
    last = piece;
  }
  const found = formatDigest(algorithm, hash.digest());
  if (found !== digest)
    throw new SeekableErofsError('MISMATCH', { what: `blob ${digest}`, why: `the upstream sends ${found}` });
  if (last !== null) yield last;
}

/** The document's own word, else the registry's. */
function typeOf(bytes: Buffer, contentType: string): string {
  const said = contentType.split(';')[0]!.trim();
  try {
    const document = parseJson(bytes, 'manifest') as { mediaType?: unknown };
    if (typeof document.mediaType === 'string') return document.mediaType;
    if (isIndexType(said) || isManifestType(said)) return said;
    return 'manifests' in document ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  } catch {
    return said; // whatever it is, it is the client's to refuse
  }
}

function upstreamError(error: unknown): MirrorError {
  const code = error instanceof SeekableErofsError ? error.code : 'FAILED';
  const statuses: Partial<Record<string, number>> = {
    IO: 502,
    MISMATCH: 502,
    CORRUPT: 502,
    UNSUPPORTED: 502,
  };
  return new MirrorError(
    statuses[code] ?? 500,
    'UNKNOWN',
    'the upstream can not be read: see the log of this mirror',
  );
}

function shortened(url: string | undefined): string {
  return (url ?? '').slice(0, 200).replace(/[^\x21-\x7e]/g, '?');
}
