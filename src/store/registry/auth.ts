import { isDeepStrictEqual } from 'node:util';
import { failure, SeekableErofsError } from '../../errors';
import { basicAuthorization, type HttpClient } from '../../source/http-client';
import { transientFaultOf } from '../../source/transient';
import type { Challenge } from './challenge';
import { findCredentials, type Credentials, type CredentialSearch } from './credentials';
import { isLoopback } from './origin';
import { fetchToken, unionOf, type Scope, type Token, type TokenServer } from './token';

/** How a registry wants to be told who asks. */
type Mode = { kind: 'unknown' | 'basic' } | { kind: 'bearer'; server: TokenServer };

/** A registry that asks for ever more would be asked for ever more. */
const maxExtraScopes = 16;
/** Credentials that were found are not looked for again within this; in milliseconds. */
const searchInterval = 1000;

/**
 * What goes into the Authorization header for one registry. Credentials are looked for when it asks for some; they go to the registry
 * itself (Basic), or to the token server that it names, over HTTPS, or over HTTP where the registry itself is spoken to so.
 */
export class Authenticator {
  private mode: Mode = { kind: 'unknown' };
  private search: Promise<CredentialSearch> | null = null;
  /** When credentials were looked for; performance.now(). */
  private searched = 0;
  private extraScopes: Scope[] = [];
  /** By the scopes that they are for. */
  private readonly tokens = new Map<string, Promise<Token>>();

  constructor(
    private readonly client: HttpClient,
    private readonly registry: { name: string; host: string; repository: string; origin: URL },
    private readonly options: { authFile?: string | undefined; insecureHttp?: boolean | undefined },
  ) {}

  /** The header for a request that needs `scopes`; null before the registry has asked for one. */
  async header(scopes: readonly Scope[], signal?: AbortSignal): Promise<string | null> {
    if (this.mode.kind === 'unknown') return null;
    const { found } = await this.credentials();
    if (this.mode.kind === 'bearer')
      return `Bearer ${await this.bearer(this.mode.server, scopes, found, signal)}`;
    return basicOf(found);
  }

  private async bearer(
    server: TokenServer,
    scopes: readonly Scope[],
    found: Credentials | null,
    signal?: AbortSignal,
  ): Promise<string> {
    if (found?.registryToken !== undefined) return found.registryToken;
    try {
      return (await this.token(server, scopes, found, signal)).value;
    } catch (error) {
      if (transientFaultOf(error) !== null || !(await this.renew(found))) throw error;
      const renewed = (await this.credentials()).found;
      return renewed?.registryToken ?? (await this.token(server, scopes, renewed, signal)).value;
    }
  }

  /**
   * Takes in what a 401 asks for, after `sent` was refused. False when asking again would be the same.
   * @throws UNSUPPORTED for schemes that are not Basic or Bearer, IO for a token server that must not be told anything.
   */
  async challenged(challenges: readonly Challenge[], sent: string | null): Promise<boolean> {
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      this.mode = { kind: 'bearer', server: this.serverOf(bearer) };
      this.addScopes(bearer.parameters.get('scope') ?? '');
      await this.forget(sent);
      const { found } = await this.credentials();
      const isRefused = found?.registryToken !== undefined && sent === `Bearer ${found.registryToken}`;
      return !isRefused || this.renew(found);
    }
    if (challenges.some(({ scheme }) => scheme === 'basic')) {
      this.mode = { kind: 'basic' };
      const { found } = await this.credentials();
      return basicOf(found) !== sent || (sent !== null && this.renew(found));
    }
    if (challenges.length === 0) return false;
    const asked = challenges.map(({ scheme }) => scheme.slice(0, 20)).join(', ');
    throw failure(
      'UNSUPPORTED',
      this.registry.name,
      `it wants authentication by ${asked}`,
      'Basic and Bearer are known',
    );
  }

  /** What to do about a refusal: which credentials were used, or where none were found. */
  async advice(): Promise<string> {
    if (this.search === null) return 'is the name right?';
    const { found, looked } = await this.search;
    const again = 'log in with `skopeo login` or `docker login`, or give --authfile FILE';
    if (found !== null) return `the credentials of ${found.origin} were used: ${again}`;
    return `no credentials for ${this.registry.host} in ${looked.join(', ')}: ${again}`;
  }

  private credentials(): Promise<CredentialSearch> {
    if (this.search === null) this.searched = performance.now();
    this.search ??= findCredentials(this.registry, this.options.authFile);
    return this.search;
  }

  /** Looks for credentials once more after `refused` were: a helper's may have a lifetime, a file another password. Whether there are others. */
  private async renew(refused: Credentials | null): Promise<boolean> {
    const known = await this.credentials();
    if (!isDeepStrictEqual(known.found, refused)) return true; // another request did
    if (performance.now() - this.searched < searchInterval) return false;
    this.searched = performance.now();
    const search = await findCredentials(this.registry, this.options.authFile).catch(() => known);
    this.search = Promise.resolve(search);
    return !isDeepStrictEqual(search.found, refused);
  }

  private async token(
    server: TokenServer,
    scopes: readonly Scope[],
    credentials: Credentials | null,
    signal?: AbortSignal,
  ): Promise<Token> {
    const wanted = unionOf([...scopes, ...this.extraScopes]);
    const key = wanted.join(' ');
    const known = await this.tokens.get(key);
    if (known !== undefined && performance.now() < known.expires) return known;
    // Somebody else may have asked meanwhile.
    const current = this.tokens.get(key);
    if (current !== undefined && (await current) !== known) return current;
    const asked = fetchToken(this.client, server, wanted, credentials, signal);
    this.tokens.set(key, asked);
    asked.catch(() => this.tokens.delete(key));
    return asked;
  }

  private async forget(sent: string | null): Promise<void> {
    for (const [key, token] of this.tokens) {
      const value = await token.catch(() => null);
      if (value === null || `Bearer ${value.value}` === sent) this.tokens.delete(key);
    }
  }

  private addScopes(text: string): void {
    const scopes = text.split(' ').filter((scope) => /^[\w.-]+:[^\s"\\]{1,500}:[\w,*]+$/.test(scope));
    this.extraScopes = unionOf([...this.extraScopes, ...scopes]).slice(0, maxExtraScopes);
  }

  private serverOf({ parameters }: Challenge): TokenServer {
    const text = parameters.get('realm') ?? '';
    const realm = URL.canParse(text) ? new URL(text) : null;
    if (realm === null) throw this.refuse('names no token server in its challenge');
    if (realm.protocol !== 'https:' && !this.mayBePlain(realm)) {
      throw this.refuse(`names a token server that is not reached by https: ${realm.origin}`);
    }
    realm.username = '';
    realm.password = '';
    return { realm, service: parameters.get('service') ?? null };
  }

  private mayBePlain(realm: URL): boolean {
    if (realm.protocol !== 'http:' || this.registry.origin.protocol !== 'http:') return false;
    return isLoopback(realm.host) || this.options.insecureHttp === true;
  }

  private refuse(why: string): SeekableErofsError {
    return failure('IO', this.registry.name, `the registry ${why}`, 'ask who runs it');
  }
}

/** The header with a name and a password; null without. */
function basicOf(found: Credentials | null): string | null {
  return found?.login === undefined ? null : basicAuthorization(found.login.username, found.login.password);
}
