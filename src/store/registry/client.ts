import { setMaxListeners } from 'node:events';
import { SeekableErofsError } from '../../errors';
import type { RegistryReference } from '../../oci/reference';
import {
  createHttpClient,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
} from '../../source/http-client';
import { Authenticator } from './auth';
import { parseChallenges } from './challenge';
import { chooseOrigin } from './origin';
import { withDefaults } from './defaults';
import { defaultConcurrency, type StoreOptions } from './options';
import { Patience } from './patience';
import { sendCounted, type HostTraffic } from './counted';
import { readRefusal, refusalError, type Refusal } from './refusal';
import { catalogueScope, repositoryScope, type Scope } from './token';
import { identityOf, readCertificates, trustOf } from './trust';

/** A request to a registry. Its body is made anew when the registry wants to be asked again. */
interface RegistryRequest extends Omit<HttpRequest, 'body' | 'authorization'> {
  body?: (() => NonNullable<HttpRequest['body']>) | undefined;
  /** More than the client's own. */
  scopes?: readonly Scope[] | undefined;
}

/** Loopback is never behind a proxy. */
const neverProxied = 'localhost,127.0.0.1,[::1]';

/** One repository of a registry: requests with authentication, a number of them at once, tried again when that may help. */
export class RegistryClient {
  private readonly stopped = new AbortController();
  private readonly signal: AbortSignal;
  private readonly traffic: HostTraffic | undefined;

  private constructor(
    /** What errors call it. */
    readonly name: string,
    readonly origin: URL,
    readonly repository: string,
    private readonly http: HttpClient,
    private readonly auth: Authenticator,
    private readonly scope: Scope,
    readonly options: StoreOptions,
    readonly patience: Patience,
  ) {
    const { signal, traffic } = options;
    this.traffic = traffic && { host: hostOf(name), traffic };
    this.signal = signal === undefined ? this.stopped.signal : AbortSignal.any([signal, this.stopped.signal]);
    setMaxListeners(0, this.signal); // every request under way listens, until it has its answer
  }

  /** Nothing is asked yet but which protocol the registry speaks, where that is not certain. */
  static async open(
    { host, repository }: Pick<RegistryReference, 'host' | 'repository'>,
    actions: 'pull' | 'pull,push',
    given: StoreOptions,
  ): Promise<RegistryClient> {
    const options = await withDefaults(host, given);
    const noProxy = proxyExceptions();
    const certificates = await readCertificates(host, options.certDir);
    const name = `docker://${host}/${repository}`;
    const patience = new Patience(name, host, options);
    const identity = identityOf(certificates);
    const probe = (): Promise<URL> => chooseOrigin(host, { ...options, identity, noProxy });
    const origin = await patience.retrying(probe, options.signal);
    const { timeout, concurrency = defaultConcurrency, privateHosts } = options;
    const tls = origin.protocol === 'https:' ? { secureContext: await trustOf(certificates) } : undefined;
    const http = await createHttpClient({ timeout, connections: concurrency, tls, noProxy, privateHosts });
    const auth = new Authenticator(http, { name, host, repository, origin }, options);
    return new RegistryClient(
      name,
      origin,
      repository,
      http,
      auth,
      repository === '' ? catalogueScope : repositoryScope(repository, actions),
      options,
      patience,
    );
  }

  /** The URL of `path` of the repository. */
  url(path: string): URL {
    return new URL(`/v2/${this.repository}/${path}`, this.origin);
  }

  /**
   * Sends a request when a connection is free. A 401 is answered with what it asks for, once. The answer's body is to be read to its end,
   * or discarded: other requests wait for that.
   */
  async send(url: URL, request: RegistryRequest): Promise<HttpResponse> {
    const signal =
      request.signal === undefined ? this.signal : AbortSignal.any([this.signal, request.signal]);
    try {
      return await this.authenticated(url, { ...request, signal });
    } catch (error) {
      throw withTrustHint(error);
    }
  }

  /** As withRetries(), by the store's options. */
  retrying<T>(attempt: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.patience.retrying(attempt, signal ?? this.signal);
  }

  /** The error for an answer that refuses a request about `what`. */
  async refused(what: string, response: HttpResponse): Promise<SeekableErofsError> {
    return this.errorOf(what, await readRefusal(response));
  }

  /** As refused(), for what was read already. */
  async errorOf(what: string, refusal: Refusal): Promise<SeekableErofsError> {
    const { status } = refusal;
    const isAccess = status === 401 || status === 403;
    return refusalError(what, refusal, isAccess ? await this.auth.advice() : undefined);
  }

  /** What to do about a name that is not there, or not for everybody. */
  advice(): Promise<string> {
    return this.auth.advice();
  }

  /** Cuts off what is under way; later requests are refused. */
  stop(): void {
    this.stopped.abort();
  }

  /** One last request, of which nobody cares how it ends. */
  async sendLast(url: URL, request: Pick<HttpRequest, 'method'>): Promise<void> {
    const signal = AbortSignal.timeout(5000);
    await this.authenticated(url, { ...request, signal }).then(
      (response) => response.discard(),
      () => undefined,
    );
  }

  async close(): Promise<void> {
    this.stop();
    await this.http.close();
  }

  private async authenticated(
    url: URL,
    { body, scopes = [], ...request }: RegistryRequest,
  ): Promise<HttpResponse> {
    const isRegistry = url.origin === this.origin.origin;
    for (let attempt = 1; ; attempt++) {
      // A token is for all who need it, so that one who gives up must not end the asking.
      const signal = this.signal.aborted ? request.signal : this.signal;
      const authorization = isRegistry ? await this.auth.header([this.scope, ...scopes], signal) : null;
      const response = await sendCounted(this.traffic, this.http, url, {
        ...request,
        authorization,
        body: body?.(),
      });
      // Where a redirect led to, another server asks: it is told nothing.
      if (response.status !== 401 || attempt === 2 || response.url.origin !== this.origin.origin)
        return response;
      const challenges = parseChallenges(response.headers('www-authenticate'));
      const isWorthwhile = await this.auth
        .challenged(challenges, authorization)
        .catch(async (error: unknown) => {
          await response.discard();
          throw error;
        });
      if (!isWorthwhile) return response;
      await response.discard();
    }
  }
}

/** Of `docker://HOST/REPO`. */
function hostOf(name: string): string {
  return new URL(name).host;
}

function proxyExceptions(): string {
  const given = process.env['no_proxy'] ?? process.env['NO_PROXY'] ?? '';
  return given === '*' ? given : `${given},${neverProxied}`;
}

function withTrustHint(error: unknown): unknown {
  if (!(error instanceof SeekableErofsError) || error.hint?.startsWith('NODE_EXTRA_CA_CERTS') !== true)
    return error;
  const { code, what, why, cause } = error;
  const hint = "--cert-dir DIR, with the authority's certificate in it as ca.crt, makes it trusted";
  return new SeekableErofsError(code, { what, why, hint, cause });
}
