import type { HttpResponse } from '../../source/http-client';
import type { RegistryClient } from './client';

/** What object storage says of an address whose signature has aged, or that is not the blob's any more. */
const agedStatuses = [400, 401, 403, 404, 410];

/**
 * Where a blob is read. Many registries lead each request to an object storage, by an address that is signed for some minutes: it is kept,
 * so that later reads save a round trip, and the registry is asked again when the storage does not take it any more.
 */
export class BlobLocation {
  private redirected: URL | null = null;

  constructor(
    private readonly client: Pick<RegistryClient, 'send'>,
    private readonly url: URL,
  ) {}

  /** The answer to a GET: of the registry, or where it leads to. */
  async get(headers: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<HttpResponse> {
    const known = this.redirected;
    if (known !== null) {
      const response = await this.client
        .send(known, { method: 'GET', headers, signal })
        .catch((error: unknown) => {
          this.forget(known);
          throw error;
        });
      if (!agedStatuses.includes(response.status)) return response;
      await response.discard();
      this.forget(known);
    }
    const response = await this.client.send(this.url, { method: 'GET', headers, signal });
    const isElsewhere = response.url.origin !== this.url.origin;
    if (isElsewhere && (response.status === 200 || response.status === 206)) this.redirected = response.url;
    return response;
  }

  private forget(url: URL): void {
    if (this.redirected === url) this.redirected = null;
  }
}
