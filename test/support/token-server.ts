import { createSign, randomUUID, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a token request asked for. */
export interface TokenRequest {
  method: string;
  url: URL;
  authorization: string | undefined;
  body: URLSearchParams;
}

interface Access {
  type: string;
  name: string;
  actions: string[];
}

interface Signer {
  key: KeyObject;
  /** DER in base64. */
  certificate: string;
}

/** Name, password and identity token of the one user who may push. */
export const user = { name: 'alice', password: 'wonder:land', identityToken: 'identity-of-alice' };

/** The token server of a registry: anybody may pull, `user` may push as well. Tokens are JWTs, signed where a registry checks that. */
export class TokenServer {
  readonly requests: TokenRequest[] = [];
  /** Seconds that tokens are said to live, and do live. */
  lifetime = 60;
  /** In the place of `token`. */
  member = 'token';
  /** Answers in place of the server, for which it returns true. */
  misbehave: (request: TokenRequest, response: ServerResponse) => boolean = () => false;
  private readonly server: Server;

  private constructor(
    private readonly service: string,
    private readonly signer: Signer | null,
  ) {
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  static async start(service: string, signer: Signer | null = null): Promise<TokenServer> {
    const server = new TokenServer(service, signer);
    await new Promise<void>((resolve) => server.server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/token`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Whether a token allows an action on a repository, now. */
  allows(token: string, repository: string, action: string): boolean {
    const [, payload = ''] = token.split('.');
    const { exp, access } = JSON.parse(Buffer.from(payload, 'base64url').toString() || '{}') as {
      exp: number;
      access: Access[];
    };
    if (Date.now() >= exp * 1000) return false;
    return access.some(({ name, actions }) => name === repository && actions.includes(action));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const seen: TokenRequest = {
      method: request.method ?? '',
      url: new URL(request.url ?? '', this.realm),
      authorization: request.headers.authorization,
      body: new URLSearchParams(Buffer.concat(pieces).toString()),
    };
    this.requests.push(seen);
    if (this.misbehave(seen, response)) return;
    const who = this.whoAsks(seen);
    if (who === null) {
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"details":"wrong password"}');
      return;
    }
    const scopes =
      seen.method === 'POST'
        ? (seen.body.get('scope') ?? '').split(' ')
        : seen.url.searchParams.getAll('scope');
    const access = scopes.filter((scope) => scope !== '').map((scope) => granted(scope, who));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ [this.member]: this.sign(access, who), expires_in: this.lifetime }));
  }

  private whoAsks({ method, authorization, body }: TokenRequest): string | null {
    if (method === 'POST') return body.get('refresh_token') === user.identityToken ? user.name : null;
    if (authorization === undefined) return 'anonymous';
    const expected = Buffer.from(`${user.name}:${user.password}`).toString('base64');
    return authorization === `Basic ${expected}` ? user.name : null;
  }

  private sign(access: Access[], subject: string): string {
    const now = Date.now() / 1000;
    const claims = {
      iss: 'token-server',
      sub: subject,
      aud: this.service,
      jti: randomUUID(),
      access,
      exp: now + this.lifetime,
      nbf: Math.floor(now) - 5,
      iat: Math.floor(now),
    };
    // A registry counts in whole seconds.
    if (this.signer !== null) claims.exp = Math.floor(claims.exp);
    const header = { typ: 'JWT', alg: 'RS256', ...(this.signer && { x5c: [this.signer.certificate] }) };
    const text = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const signature =
      this.signer === null
        ? 'none'
        : createSign('RSA-SHA256').update(text).sign(this.signer.key).toString('base64url');
    return `${text}.${signature}`;
  }
}

/** Of what is asked for, what may be given. */
function granted(scope: string, who: string): Access {
  const [type = '', name = '', actions = ''] = scope.split(':');
  const allowed = who === user.name ? ['pull', 'push'] : ['pull'];
  return { type, name, actions: actions.split(',').filter((action) => allowed.includes(action)) };
}
