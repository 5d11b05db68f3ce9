import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that the server got. */
export interface SeenRequest {
  url: string;
  headers: IncomingMessage['headers'];
  /** What the Range header asks for; null when there is none. */
  range: { first: number; last: number } | null;
}

/** Answers a request in place of the server, for which it returns true. `count` is 0 for the first request. */
export type Misbehaviour = (request: SeenRequest, response: ServerResponse, count: number) => boolean;

/** A web server on 127.0.0.1 that has one object, answers ranges of it as it should, records what was asked, and can misbehave. */
export class RangeServer {
  readonly requests: SeenRequest[] = [];
  etag: string | undefined = '"one"';
  lastModified: string | undefined;
  misbehave: Misbehaviour = () => false;
  private readonly server: Server;

  private constructor(public bytes: Buffer) {
    this.server = createServer((request, response) => {
      this.answer(request, response);
    });
  }

  static async start(bytes: Buffer): Promise<RangeServer> {
    const server = new RangeServer(bytes);
    await new Promise<void>((resolve) => server.server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `${this.origin}/blob`;
  }

  /** Ranges asked for, as text, since the last call. */
  takeRanges(): string[] {
    return this.requests.splice(0).map(({ range }) => (range ? `${range.first}-${range.last}` : 'all'));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Headers of a right answer with these bytes. */
  headers(first: number, last: number): Record<string, string> {
    return {
      'content-range': `bytes ${first}-${last}/${this.bytes.length}`,
      'content-length': String(last - first + 1),
      ...this.validators(),
    };
  }

  private validators(): Record<string, string> {
    return {
      ...(this.etag !== undefined && { etag: this.etag }),
      ...(this.lastModified !== undefined && { 'last-modified': this.lastModified }),
    };
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const range = match && { first: Number(match[1]), last: Number(match[2]) };
    const seen = { url: request.url ?? '', headers: request.headers, range };
    this.requests.push(seen);
    if (this.misbehave(seen, response, this.requests.length - 1)) return;
    const { 'if-range': condition } = request.headers;
    const isSame = condition === undefined || condition === this.etag || condition === this.lastModified;
    if (range === null || !isSame) this.sendAll(response);
    else this.sendPart(response, range);
  }

  sendAll(response: ServerResponse): void {
    const headers = { 'content-length': this.bytes.length, ...this.validators() };
    response.writeHead(200, headers).end(this.bytes);
  }

  private sendPart(response: ServerResponse, { first, last }: { first: number; last: number }): void {
    const end = Math.min(last, this.bytes.length - 1);
    if (first > end) response.writeHead(416, { 'content-range': `bytes */${this.bytes.length}` }).end();
    else response.writeHead(206, this.headers(first, end)).end(this.bytes.subarray(first, end + 1));
  }
}
