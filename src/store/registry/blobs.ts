import type { Descriptor } from '../../oci/types';
import type { RegistryClient } from './client';

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
