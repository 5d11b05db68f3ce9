import type { Descriptor } from '../../oci/types';
import type { RegistryClient } from './client';
import { begunUpload, type OpenUploads } from './open-uploads';
import { repositoryScope } from './token';

/**
 * Asks the registry to take a blob over from another of its repositories. False when it doesn't, for whatever reason: the blob can be sent
 * all the same. What the registry can't mount it expects to be sent now: the upload that it begins for that is kept in `uploads`.
 */
export async function mountBlob(
  client: RegistryClient,
  { digest }: Pick<Descriptor, 'digest'>,
  from: string,
  uploads: OpenUploads,
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
  if (response.status === 202) {
    const upload = begunUpload(response);
    if (typeof upload !== 'string') uploads.keep(upload);
  }
  return response.status === 201;
}
