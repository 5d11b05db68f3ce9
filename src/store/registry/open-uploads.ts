import type { HttpResponse } from '../../source/http-client';
import type { RegistryClient } from './client';

/** An upload that the registry has begun; it takes any blob. */
export interface BegunUpload {
  /** Where the registry wants the first bytes. */
  location: URL;
  /** The registry wants no smaller chunks than this, but for the last; bytes. */
  minChunkSize: number;
}

/** The uploads of one repository that were begun and not ended, so that none is left when all is over or given up. */
export class OpenUploads {
  private readonly locations = new Set<URL>();
  private readonly unused: BegunUpload[] = [];

  add(location: URL): void {
    this.locations.add(location);
  }

  delete(location: URL): void {
    this.locations.delete(location);
  }

  /** Keeps an upload for the next blob. */
  keep(upload: BegunUpload): void {
    this.add(upload.location);
    this.unused.push(upload);
  }

  /** One that was kept: the youngest, as registries forget old ones. */
  take(): BegunUpload | undefined {
    return this.unused.pop();
  }

  /** Tells the registry that none of them will be ended. */
  async cancel(client: RegistryClient): Promise<void> {
    const locations = [...this.locations];
    await Promise.all(locations.map((location) => client.sendLast(location, { method: 'DELETE' })));
  }
}

/** The upload that an answer says is begun; what is wrong with the answer, if it names no place for it. */
export function begunUpload(response: HttpResponse): BegunUpload | string {
  const location = uploadLocation(response);
  if (typeof location === 'string') return location;
  return { location, minChunkSize: Number(response.header('oci-chunk-min-length') ?? 0) };
}

/** Where an answer says that an upload goes on; what is wrong with it, if it doesn't. */
export function uploadLocation(response: HttpResponse): URL | string {
  const text = response.header('location');
  const base = response.url;
  const location = text !== undefined && URL.canParse(text, base.href) ? new URL(text, base) : null;
  if (location === null || !/^https?:$/.test(location.protocol)) return 'names no place for the upload';
  if (base.protocol === 'https:' && location.protocol !== 'https:')
    return 'wants the upload over http://, which is not encrypted';
  return location;
}
