import type { Descriptor } from '../../oci/types';
import type { RegistryClient } from './client';
import { repositoryScope } from './scope';

/**
 * Asks the registry to take a blob over from another of its repositories. False when it doesn't, for whatever reason: the blob can be sent
 * all the same.
 */
export async function mountBlob(
  client: RegistryClient,
  { digest }: Pick<Descriptor, 'digest'>,
  from: string,
): Promise<boolean> {
  const url = client.url('blobs/uploads/');
  url.searchParams.set('mount', digest);
  url.searchParams.set('from', from);
  const response = await client.send(url, {
    method: 'POST',
    headers: { 'content-length': '0' },
    scopes: [repositoryScope(from, 'pull')],
  });
  await response.discard();
  const location = response.header('location');
  // What it can't mount it expects to be sent now.
  if (response.status === 202 && location !== undefined && URL.canParse(location, response.url.href)) {
    await client.sendLast(new URL(location, response.url), { method: 'DELETE' });
  }
  return response.status === 201;
}
