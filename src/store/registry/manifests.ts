import { failure, SeekableErofsError } from '../../errors';
import { checkDigestOf, digestOf, isDigest, parseDigest } from '../../format/digest';
import { maxDocumentSize } from '../../format/json';
import { isIndexType, isManifestType, mediaTypes } from '../../format/media-types';
import { parseJsonObject, type JsonObject } from '../../oci/json';
import type { Descriptor } from '../../oci/types';
import type { HttpResponse } from '../../source/http-client';
import { transientFailure } from '../../source/transient';
import { checkContent } from '../blob-content';
import { readUpTo } from './body';
import type { RegistryClient } from './client';
import { shown } from './refusal';

const accept = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifestList,
  mediaTypes.dockerManifest,
].join(', ');
/** Tags that an error lists. */
const fewTags = 10;

/** A manifest or an index, as it came. */
interface StoredManifest {
  descriptor: Descriptor;
  bytes: Buffer;
}

/** Registries keep such documents apart from blobs: images, indexes, and artifacts that describe themselves like those. */
export function isKeptAsManifest(mediaType: string): boolean {
  return /^application\/vnd\.([^+]+\.)?(manifest|index)(\.[^+]*)?\+(json|prettyjws)$/.test(mediaType);
}

/** Fetches what a tag or a digest names. Its digest is computed here, whatever the registry says it is. */
export async function getManifest(client: RegistryClient, reference: string): Promise<StoredManifest> {
  const found = await findManifest(client, reference);
  if (found === null) throw await notFound(client, reference);
  return found;
}

/** As getManifest(); null when there is none. */
export async function findManifest(
  client: RegistryClient,
  reference: string,
): Promise<StoredManifest | null> {
  const found = await client.retrying(() => download(client, reference, accept, maxDocumentSize));
  if (found === null) return null;
  const { bytes, contentType } = found;
  const { algorithm } = isDigest(reference) ? parseDigest(reference) : { algorithm: 'sha256' as const };
  const descriptor = {
    mediaType: mediaTypeOf(bytes, contentType, `${client.name}, ${reference}`),
    digest: digestOf(bytes, algorithm),
    size: bytes.length,
  };
  if (isDigest(reference)) checkContent({ ...descriptor, digest: reference }, bytes);
  return { descriptor, bytes };
}

/** Fetches the manifest that a descriptor promises, and checks it. */
export async function getManifestOf(client: RegistryClient, descriptor: Descriptor): Promise<Buffer> {
  const { mediaType, digest, size } = descriptor;
  const found = await client.retrying(() => download(client, digest, mediaType, size));
  if (found === null) throw await notFound(client, digest);
  checkContent(descriptor, found.bytes);
  return found.bytes;
}

export async function hasManifest(
  client: RegistryClient,
  { digest, mediaType }: Descriptor,
): Promise<boolean> {
  return client.retrying(async () => {
    const headers = { accept: mediaType };
    const response = await client.send(manifestUrl(client, digest), { method: 'HEAD', headers });
    if (response.status !== 200 && response.status !== 404) throw await client.refused(client.name, response);
    await response.discard();
    return response.status === 200;
  });
}

/**
 * Puts a manifest under a tag or its digest. Doing so twice is as good as once, so that lost answers do no harm. Returns what the registry
 * says that the manifest is about: it lists it among that one's referrers then.
 */
export async function putManifest(
  client: RegistryClient,
  reference: string,
  { mediaType, digest }: Descriptor,
  bytes: Uint8Array,
): Promise<string | undefined> {
  return client.retrying(async () => {
    const response = await client.send(manifestUrl(client, reference), {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body: () => Buffer.from(bytes),
    });
    if (response.status !== 200 && response.status !== 201 && response.status !== 202) {
      throw await client.refused(`${client.name}, ${reference}`, response);
    }
    await response.discard();
    const stored = claimedDigest(response);
    // Under a tag a registry takes whatever is a manifest: what got damaged on its way must not stay there.
    if (stored !== null && stored !== digest) {
      throw transientFailure(
        `${client.name}, ${reference}`,
        `the registry has got ${stored} instead of ${digest}`,
      );
    }
    return response.header('oci-subject');
  });
}

/** What the registry says that a manifest's digest is: never taken for it, but a sign of damage when it is another one. */
function claimedDigest(response: HttpResponse): string | null {
  const claimed = response.header('docker-content-digest');
  return claimed !== undefined && isDigest(claimed) && claimed.startsWith('sha256:') ? claimed : null;
}

/** Null when there is none. */
async function download(client: RegistryClient, reference: string, accepted: string, limit: number) {
  const what = `${client.name}, ${reference}`;
  const response = await client.send(manifestUrl(client, reference), {
    method: 'GET',
    headers: { accept: accepted },
  });
  if (response.status === 404) {
    await response.discard();
    return null;
  }
  if (response.status !== 200) throw await client.refused(what, response);
  const contentType = response.header('content-type')?.split(';')[0]!.trim() ?? '';
  const bytes = await readUpTo(response, limit, what);
  const claimed = claimedDigest(response);
  if (claimed !== null) checkDigestOf(what, claimed, bytes);
  return { bytes, contentType };
}

function manifestUrl(client: RegistryClient, reference: string): URL {
  return client.url(`manifests/${reference}`);
}

/** The document's own word counts: its digest covers it. Registries are known to answer with text/plain. */
function mediaTypeOf(bytes: Buffer, contentType: string, what: string): string {
  const object: JsonObject = parseJsonObject(bytes, what);
  const { mediaType } = object;
  if (typeof mediaType === 'string') {
    if (/^[\x21-\x7e]{1,255}$/.test(mediaType)) return mediaType;
    throw failure('CORRUPT', what, `"${shown(mediaType)}" is no media type`);
  }
  if (isIndexType(contentType) || isManifestType(contentType)) return contentType;
  if (object['schemaVersion'] === 1) return 'application/vnd.docker.distribution.manifest.v1+json';
  return 'manifests' in object ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

/** The error for a tag or digest that is not there; it lists some that are. */
async function notFound(client: RegistryClient, reference: string): Promise<Error> {
  const what = `${client.name}${isDigest(reference) ? '@' : ':'}${reference}`;
  const tags = await someTags(client);
  if (tags === null)
    return failure(
      'NOT_FOUND',
      what,
      'the registry has no such repository, or shows it to others only',
      await client.advice(),
    );
  if (tags.length === 0) return failure('NOT_FOUND', what, 'not in the registry; the repository has no tags');
  const listed = tags.slice(0, fewTags).map(shown).join(', ');
  return failure(
    'NOT_FOUND',
    what,
    'not in the registry',
    `tags there: ${listed}${tags.length > fewTags ? ' …' : ''}`,
  );
}

/** null when the repository isn't there, or its tags are not to be seen. */
async function someTags(client: RegistryClient): Promise<string[] | null> {
  try {
    const response = await client.send(client.url(`tags/list?n=${fewTags + 1}`), { method: 'GET' });
    if (response.status !== 200) {
      await response.discard();
      return null;
    }
    const { tags } = parseJsonObject(await readUpTo(response, maxDocumentSize, client.name), client.name);
    return Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [];
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code !== 'CANCELLED') return null;
    throw error;
  }
}
