import { failure } from '../../errors';
import { maxDocumentSize } from '../../format/json';
import { isIndexType } from '../../format/media-types';
import { parseIndex } from '../../oci/manifest';
import { referrersTag } from '../../oci/referrers';
import type { Descriptor, Index } from '../../oci/types';
import { readUpTo } from './body';
import type { RegistryClient } from './client';
import { findManifest } from './manifests';
import { nextPage } from './pages';

/** Of lists of 4 MiB at most. Nobody has so many artifacts of one kind about one image. */
const maxPages = 16;
/** What registries say that do not know the path. */
const unknownPath = [400, 404, 405, 501];

/** What the registry lists as being about a manifest, of this type and maybe others; null where it keeps no such list. */
export async function listReferrers(
  client: RegistryClient,
  digest: string,
  artifactType: string,
): Promise<Descriptor[] | null> {
  const listed: Descriptor[] = [];
  let next: URL | null = client.url(`referrers/${digest}?artifactType=${encodeURIComponent(artifactType)}`);
  for (let page = 0; next !== null; page++) {
    const url: URL = next;
    const what = `${client.name}, referrers of ${digest}`;
    if (page === maxPages) throw failure('UNSUPPORTED', what, `they have more than ${maxPages} pages`);
    const found = await client.retrying(() => readPage(client, url, what));
    if (found === null) return null;
    listed.push(...found.index.manifests);
    next = nextPage(found.link, url, what);
  }
  return listed;
}

async function readPage(client: RegistryClient, url: URL, what: string) {
  const response = await client.send(url, { method: 'GET' });
  if (unknownPath.includes(response.status)) {
    await response.discard();
    return null;
  }
  if (response.status !== 200) throw await client.refused(what, response);
  const link = response.header('link');
  return { index: parseIndex(await readUpTo(response, maxDocumentSize, what), what), link };
}

/** The index that takes the place of the registry's list; null when there is none. */
export async function taggedReferrers(client: RegistryClient, digest: string): Promise<Index | null> {
  const tag = referrersTag(digest);
  const found = await findManifest(client, tag);
  if (found === null || !isIndexType(found.descriptor.mediaType)) return null;
  return parseIndex(found.bytes, `${client.name}:${tag}`);
}
