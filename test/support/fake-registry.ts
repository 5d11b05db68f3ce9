import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TokenServer } from './token-server';

/** A request that the registry got, with what was received of its body. */
export interface RegistryCall {
  method: string;
  /** Without the `/v2/`. */
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

/** Answers a request in place of the registry, for which it returns true. `count` is 0 for the first of this method and kind of path. */
export type Misbehaviour = (call: RegistryCall, response: ServerResponse, count: number) => boolean;

/** How the registry wants to be told who asks. */
export type FakeAuth =
  { kind: 'none' } | { kind: 'basic'; pair: string } | { kind: 'token'; server: TokenServer };

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A registry on 127.0.0.1 that keeps everything in memory, records what it is asked, and can misbehave. */
export class FakeRegistry {
  readonly calls: RegistryCall[] = [];
  /** `repository digest` → bytes. */
  readonly blobs = new Map<string, Buffer>();
  /** `repository reference` → document. */
  readonly manifests = new Map<string, { mediaType: string; bytes: Buffer }>();
  readonly uploads = new Map<string, Buffer>();
  auth: FakeAuth = { kind: 'none' };
  misbehave: Misbehaviour = () => false;
  /** Whether it has the list of referrers of specification 1.1. */
  listsReferrers = false;
  private readonly server: Server;

  private constructor(tls: { key: string; cert: string } | null) {
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      void this.receive(request, response);
    this.server = tls === null ? createServer(answer) : createTlsServer(tls, answer);
  }

  static async start(tls: { key: string; cert: string } | null = null, port = 0): Promise<FakeRegistry> {
    const registry = new FakeRegistry(tls);
    await new Promise<void>((resolve) => registry.server.listen(port, '127.0.0.1', resolve));
    return registry;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** `METHOD path` of what was asked since the last call. */
  takeCalls(): string[] {
    return this.calls.splice(0).map(({ method, path }) => `${method} ${path}`);
  }

  putBlob(repository: string, bytes: Buffer): string {
    const digest = digestOf(bytes);
    this.blobs.set(`${repository} ${digest}`, bytes);
    return digest;
  }

  putManifest(repository: string, reference: string, mediaType: string, document: object | Buffer): string {
    const bytes = Buffer.isBuffer(document) ? document : Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes);
    for (const name of [reference, digest]) this.manifests.set(`${repository} ${name}`, { mediaType, bytes });
    return digest;
  }

  private async receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://registry');
    const { method = '', headers } = request;
    const call = { method, path: pathname.replace(/^\/v2\//, ''), query, headers, body: Buffer.alloc(0) };
    try {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      call.body = Buffer.concat(pieces);
    } catch {
      // Cut off: what came is not known to the tests.
    }
    const kind = kindOf(call.path);
    const count = this.calls.filter((other) => other.method === method && kindOf(other.path) === kind).length;
    this.calls.push(call);
    if (this.misbehave(call, response, count)) return;
    if (call.path !== '' && !this.isAllowed(call)) this.challenge(call, response);
    else this.answer(call, response);
  }

  private isAllowed({ method, path, headers: { authorization = '' } }: RegistryCall): boolean {
    if (this.auth.kind === 'none') return true;
    if (this.auth.kind === 'basic')
      return authorization === `Basic ${Buffer.from(this.auth.pair).toString('base64')}`;
    const token = /^Bearer (.+)$/.exec(authorization)?.[1];
    const action = method === 'GET' || method === 'HEAD' ? 'pull' : 'push';
    return token !== undefined && this.auth.server.allows(token, repositoryOf(path), action);
  }

  private challenge({ method, path }: RegistryCall, response: ServerResponse): void {
    const actions = method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push';
    const wanted =
      this.auth.kind === 'token'
        ? `Bearer realm="${this.auth.server.realm}",service="fake",scope="repository:${repositoryOf(path)}:${actions}"`
        : 'Basic realm="fake"';
    response.writeHead(401, { 'www-authenticate': wanted, 'content-type': 'application/json' });
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  }

  answer(call: RegistryCall, response: ServerResponse): void {
    const { path } = call;
    const [, repository = '', kind = '', name = ''] =
      /^(.+?)\/(blobs\/uploads|blobs|manifests|tags|referrers)\/(.*)$/.exec(path) ?? [];
    if (path === '') response.writeHead(200).end('{}');
    else if (kind === 'manifests') this.manifest(call, response, repository, name);
    else if (kind === 'blobs') this.blob(call, response, `${repository} ${name}`);
    else if (kind === 'tags') this.tags(response, repository);
    else if (kind === 'referrers' && this.listsReferrers) this.referrers(response, repository, name);
    else if (kind === 'blobs/uploads') this.upload(call, response, repository, name);
    else refuse(response, 404, 'NAME_UNKNOWN');
  }

  private manifest(
    { method, headers, body }: RegistryCall,
    response: ServerResponse,
    repository: string,
    name: string,
  ): void {
    if (method === 'PUT') {
      const digest = this.putManifest(repository, name, headers['content-type'] ?? '', body);
      const subject = this.listsReferrers ? subjectOf(body) : undefined;
      response
        .writeHead(201, { 'docker-content-digest': digest, ...(subject && { 'oci-subject': subject }) })
        .end();
      return;
    }
    const found = this.manifests.get(`${repository} ${name}`);
    if (found === undefined) {
      refuse(response, 404, 'MANIFEST_UNKNOWN');
      return;
    }
    response.writeHead(200, { 'content-type': found.mediaType, 'content-length': found.bytes.length });
    response.end(method === 'HEAD' ? undefined : found.bytes);
  }

  private blob({ headers, method }: RegistryCall, response: ServerResponse, key: string): void {
    const bytes = this.blobs.get(key);
    if (bytes === undefined) {
      refuse(response, 404, 'BLOB_UNKNOWN');
      return;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
    const first = Number(range?.[1] ?? 0);
    const last = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1;
    if (range === null) response.writeHead(200, { 'content-length': bytes.length });
    else
      response.writeHead(206, {
        'content-length': last - first + 1,
        'content-range': `bytes ${first}-${last}/${bytes.length}`,
      });
    response.end(method === 'HEAD' ? undefined : bytes.subarray(first, last + 1));
  }

  /** All at once, whatever their type. */
  private referrers(response: ServerResponse, repository: string, subject: string): void {
    const about = new Map<string, object>();
    for (const [key, { mediaType, bytes }] of this.manifests) {
      if (!key.startsWith(`${repository} `)) continue;
      if (subjectOf(bytes) !== subject) continue;
      const { artifactType, annotations } = JSON.parse(bytes.toString()) as Record<string, unknown>;
      const digest = digestOf(bytes);
      about.set(digest, { mediaType, digest, size: bytes.length, artifactType, annotations });
    }
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    response
      .writeHead(200, { 'content-type': mediaType })
      .end(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [...about.values()] }));
  }

  private tags(response: ServerResponse, repository: string): void {
    const keys = [...this.manifests.keys()].filter((key) => key.startsWith(`${repository} `));
    if (keys.length === 0) {
      refuse(response, 404, 'NAME_UNKNOWN');
      return;
    }
    const tags = keys.map((key) => key.slice(repository.length + 1)).filter((name) => !name.includes(':'));
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ name: repository, tags }));
  }

  private upload(
    { method, query, body, headers }: RegistryCall,
    response: ServerResponse,
    repository: string,
    id: string,
  ): void {
    if (method === 'POST') {
      this.begin(query, response, repository);
      return;
    }
    const sofar = this.uploads.get(id);
    if (sofar === undefined) {
      refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN');
      return;
    }
    const location = `/v2/${repository}/blobs/uploads/${id}`;
    const begin = /^(\d+)-/.exec(headers['content-range'] ?? '')?.[1];
    if (begin !== undefined && Number(begin) !== sofar.length) {
      refuse(response, 416, 'RANGE_INVALID');
      return;
    }
    const bytes = Buffer.concat([sofar, body]);
    if (method === 'DELETE') this.uploads.delete(id);
    else this.uploads.set(id, bytes);
    if (method === 'PUT') {
      this.finish(query, response, repository, id, bytes);
      return;
    }
    const range = { location, range: `0-${Math.max(bytes.length - 1, 0)}` };
    response.writeHead(method === 'PATCH' ? 202 : 204, method === 'DELETE' ? {} : range).end();
  }

  private begin(query: URLSearchParams, response: ServerResponse, repository: string): void {
    const mounted = this.blobs.get(`${query.get('from')} ${query.get('mount')}`);
    if (mounted !== undefined) {
      this.putBlob(repository, mounted);
      response.writeHead(201).end();
      return;
    }
    const id = randomUUID();
    this.uploads.set(id, Buffer.alloc(0));
    response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${id}`, range: '0-0' }).end();
  }

  private finish(
    query: URLSearchParams,
    response: ServerResponse,
    repository: string,
    id: string,
    bytes: Buffer,
  ): void {
    if (digestOf(bytes) !== query.get('digest')) {
      refuse(response, 400, 'DIGEST_INVALID');
      return;
    }
    this.uploads.delete(id);
    this.putBlob(repository, bytes);
    response.writeHead(201).end();
  }
}

/** Answers with an error as the specification has it. */
export function refuse(response: ServerResponse, status: number, code: string, message = 'no'): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}

function subjectOf(manifest: Buffer): string | undefined {
  return (JSON.parse(manifest.toString()) as { subject?: { digest: string } }).subject?.digest;
}

function repositoryOf(path: string): string {
  return path.replace(/\/(blobs|manifests|tags)\/.*$/, '');
}

function kindOf(path: string): string {
  return /\/(blobs\/uploads|blobs|manifests|tags)\//.exec(path)?.[1] ?? '';
}
