import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** What may go wrong with one request. */
export const faults = [
  'cut answer',
  'cut request',
  'no connection',
  'lost answer',
  'status 500',
  'status 503',
  'status 429',
  'slow',
  'wrong bytes',
  'wrong bytes sent',
  'truncated',
  'repeated range',
  'honest other range',
] as const;

/** What may go wrong as well, but is not for those who have to succeed in the end. */
type LastingFault = 'status 401' | 'status 403' | 'status 404' | 'status 416' | 'silent' | 'changed tag';

export type Fault = (typeof faults)[number] | LastingFault;

/** An answer with bytes of a blob, as the client got it. */
export interface Delivery {
  path: string;
  /** Of the blob, where the answer's bytes begin. */
  first: number;
  bytes: number;
  /** Whether the proxy broke it off. */
  isCut: boolean;
}

/** A proxy on 127.0.0.1 before a server, both HTTP, that does harm to a part of the requests, by a generator of random numbers. */
export class FaultyProxy {
  /** How often each fault was done. */
  readonly done = new Map<Fault, number>();
  readonly deliveries: Delivery[] = [];
  /** The method of each request. */
  readonly asked: string[] = [];
  /** What the server was asked to store, and took: `METHOD` and path. */
  readonly stored: string[] = [];
  /** Part of the requests that go wrong, from 0 to 1. */
  rate = 0;
  /** Faults to choose from. */
  choice: readonly Fault[] = faults;
  /** Milliseconds that each answer takes longer. */
  delay = 0;
  /** The challenge of a 401 for a request that is not let through; null for one that is. */
  deny: (incoming: IncomingMessage) => string | null = () => null;
  private readonly server: Server;
  private readonly agent = new Agent({ keepAlive: true });

  private constructor(
    /** The server's address; it may get another. */
    public target: string,
    private readonly random: () => number,
  ) {
    this.server = createServer((incoming, outgoing) => {
      outgoing.on('error', () => undefined);
      this.serve(incoming, outgoing).catch(() => outgoing.destroy());
    });
  }

  static async start(target: string, random: () => number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target, random);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private pick(): Fault | null {
    if (this.random() >= this.rate) return null;
    const fault = this.choice[Math.floor(this.random() * this.choice.length)]!;
    this.done.set(fault, (this.done.get(fault) ?? 0) + 1);
    return fault;
  }

  private async serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    this.asked.push(incoming.method ?? '');
    const challenge = this.deny(incoming);
    if (challenge !== null) {
      incoming.resume();
      outgoing.writeHead(401, { 'www-authenticate': challenge }).end('{}');
      return;
    }
    const fault = this.pick();
    if (fault === 'silent') return; // until somebody hangs up
    if (fault === 'no connection') {
      incoming.socket.destroy();
      return;
    }
    if (fault?.startsWith('status ') === true) {
      incoming.resume();
      const headers = {
        'content-type': 'text/plain',
        ...(fault === 'status 500' ? {} : { 'retry-after': '0' }),
      };
      outgoing.writeHead(Number(fault.slice(7)), headers).end('the proxy says so');
      return;
    }
    if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay));
    const sent = await collect(incoming);
    if (fault === 'cut request') {
      // A part of it arrives, the client never learns how much.
      await this.forwardPart(incoming, sent.subarray(0, this.below(sent.length + 1)));
      incoming.socket.destroy();
      return;
    }
    if (fault === 'wrong bytes sent' && sent.length > 0) sent[this.below(sent.length)]! ^= 1;
    const answer = await this.forward(incoming, sent, fault);
    if (fault === 'lost answer') incoming.socket.destroy();
    else await this.answer(incoming, outgoing, answer, fault);
  }

  private async answer(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    { status, headers, body }: Answer,
    fault: Fault | null,
  ): Promise<void> {
    if (fault === 'changed tag') headers['etag'] = `"${this.random()}"`;
    if (fault === 'wrong bytes' && body.length > 0) body[this.below(body.length)]! ^= 1;
    let shown = body;
    if (fault === 'truncated' && body.length > 1) {
      shown = body.subarray(0, this.below(body.length));
      // Nobody but the content can tell: the header agrees.
      headers['content-length'] = String(shown.length);
    }
    outgoing.writeHead(status, headers);
    const end = fault === 'cut answer' ? this.below(body.length + 1) : shown.length;
    await this.write(outgoing, shown.subarray(0, end), fault === 'slow' ? 8 : 1);
    this.record(incoming, status, headers, end, fault === 'cut answer' || fault === 'truncated');
    if (fault === 'cut answer') outgoing.destroy();
    else outgoing.end();
  }

  private record(
    incoming: IncomingMessage,
    status: number,
    headers: Headers,
    bytes: number,
    isCut: boolean,
  ): void {
    const path = incoming.url ?? '';
    if (status === 201) this.stored.push(`${incoming.method ?? ''} ${path}`);
    if (incoming.method !== 'GET' || !path.includes('/blobs/sha256:') || (status !== 200 && status !== 206))
      return;
    const first = Number(/^bytes (\d+)-/.exec(String(headers['content-range'] ?? ''))?.[1] ?? 0);
    this.deliveries.push({ path, first, bytes, isCut });
  }

  private async write(outgoing: ServerResponse, bytes: Buffer, pieces: number): Promise<void> {
    const size = Math.max(1, Math.ceil(bytes.length / pieces));
    for (let start = 0; start < bytes.length; start += size) {
      // Flushed: a connection that is cut afterwards has delivered these.
      await new Promise<void>((resolve) =>
        outgoing.write(bytes.subarray(start, start + size), () => {
          resolve();
        }),
      );
      if (pieces > 1) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Asks the server; a range may be turned into another one, with or without telling the client. */
  private async forward(incoming: IncomingMessage, sent: Buffer, fault: Fault | null): Promise<Answer> {
    const headers = { ...incoming.headers };
    const first = Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
    const isOther = first > 0 && (fault === 'repeated range' || fault === 'honest other range');
    const other = this.below(first);
    if (isOther) headers.range = `bytes=${other}-`;
    const answer = await this.send(incoming, headers, sent);
    const text = answer.headers['content-range'];
    if (isOther && fault === 'repeated range' && typeof text === 'string') {
      const last = Number(/-(\d+)\//.exec(text)![1]);
      answer.headers['content-range'] = `bytes ${first}-${last}/${last + 1}`;
      answer.body = answer.body.subarray(0, last + 1 - first);
      answer.headers['content-length'] = String(answer.body.length);
    }
    return answer;
  }

  private async send(incoming: IncomingMessage, headers: Headers, sent: Buffer): Promise<Answer> {
    const { hostname, port } = new URL(`http://${this.target}`);
    const options = {
      hostname,
      port,
      method: incoming.method,
      path: incoming.url,
      headers,
      agent: this.agent,
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(options).on('response', resolve).on('error', reject).end(sent);
    });
    return {
      status: response.statusCode ?? 502,
      headers: { ...response.headers },
      body: await collect(response),
    };
  }

  /** A request that ends in its middle, as the server sees it. */
  private async forwardPart(incoming: IncomingMessage, part: Buffer): Promise<void> {
    const { hostname, port } = new URL(`http://${this.target}`);
    const { method, url: path, headers } = incoming;
    await new Promise<void>((resolve) => {
      const onward = request({ hostname, port, method, path, headers, agent: false });
      onward.on('error', () => {
        resolve();
      });
      onward.on('response', (response) => {
        response.resume();
        response.on('close', () => {
          resolve();
        });
      });
      onward.write(part, () => onward.destroy());
      onward.on('close', () => {
        resolve();
      });
    });
  }

  private below(limit: number): number {
    return Math.floor(this.random() * limit);
  }
}

type Headers = Record<string, string | string[] | number | undefined>;

interface Answer {
  status: number;
  headers: Headers;
  body: Buffer;
}

async function collect(stream: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
