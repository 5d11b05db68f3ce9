import type { Descriptor } from '../../oci/types';
import type { RegistryClient } from './client';
import type { JobOptions, ProgressEvent } from '../../job';

export function blobUrl(client: RegistryClient, { digest }: Pick<Descriptor, 'digest'>): URL {
  return client.url(`blobs/${digest}`);
}

/** Whether the repository has a blob. */
export async function hasBlob(
  client: RegistryClient,
  descriptor: Pick<Descriptor, 'digest'>,
): Promise<boolean> {
  const response = await client.send(blobUrl(client, descriptor), { method: 'HEAD' });
  if (response.status !== 200 && response.status !== 404)
    throw await client.refused(`blob ${descriptor.digest}`, response);
  await response.discard();
  return response.status === 200;
}

/** Milliseconds: a few times a second is enough for anybody. */
const interval = 200;

/** Reports the progress of a transfer, not too often, and its end always. */
export class Ticker {
  private last = -Infinity;

  constructor(
    private readonly event: Required<Pick<ProgressEvent, 'phase' | 'item' | 'total'>>,
    private readonly onProgress: JobOptions['onProgress'],
  ) {}

  at(done: number): void {
    const now = performance.now();
    if (now - this.last < interval && done < this.event.total) return;
    this.last = now;
    this.onProgress?.({ ...this.event, done, unit: 'bytes' });
  }
}
