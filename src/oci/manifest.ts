import { failure } from '../errors';
import { isIndexType, isManifestType, mediaTypes } from '../format/media-types';
import { parseDescriptor } from './descriptor';
import {
  arrayMember,
  checkOptionalStringMap,
  checkOptionalStrings,
  corrupt,
  parseJsonObject,
  withoutNulls,
} from './json';
import type { JsonObject } from './json';
import type { SourceStore } from './store';
import type { Descriptor, Index, Manifest } from './types';

/** An index without images. */
export function emptyIndex(): Index {
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };
}

/** The most layers of an image, in any format. More than any program writes: overlayfs stops at a few hundred. */
export const maxLayers = 10_000;
const maxManifests = 10_000;
/** How many indexes may lie one within the other. */
const maxIndexDepth = 4;

/** What a digest of an image names. */
export type ManifestDocument = { kind: 'manifest'; manifest: Manifest } | { kind: 'index'; index: Index };

/**
 * Parses a manifest (OCI or Docker schema 2) from untrusted bytes; unknown members are kept. Exported for its test.
 * @throws CORRUPT, UNSUPPORTED for Docker schema 1 and more than 10000 layers.
 */
export function parseManifest(bytes: Uint8Array, what: string): Manifest {
  const object = parseVersion2(bytes, what, isManifestType);
  if ('manifests' in object) throw corrupt(what, 'a manifest and an index at once');
  const layers = arrayMember(object, 'layers', maxLayers, what);
  return {
    ...object,
    config: parseDescriptor(object['config'], `${what}, config`),
    layers: layers.map((layer, i) => parseDescriptor(layer, `${what}, layer ${i}`)),
    ...('subject' in object && { subject: parseDescriptor(object['subject'], `${what}, subject`) }),
  } as Manifest;
}

/**
 * Parses an index (OCI, or Docker's manifest list) from untrusted bytes; unknown members are kept.
 * @param maxSize bytes that it may have: 4 MiB, but for a layout's index.json
 * @throws CORRUPT, UNSUPPORTED for more than 10000 manifests.
 */
export function parseIndex(bytes: Uint8Array, what: string, maxSize?: number): Index {
  const object = parseVersion2(bytes, what, isIndexType, maxSize);
  if ('layers' in object || 'config' in object) throw corrupt(what, 'a manifest and an index at once');
  const manifests = arrayMember(object, 'manifests', maxManifests, what);
  return {
    ...object,
    manifests: manifests.map((entry, i) => parseDescriptor(entry, `${what}, manifest ${i}`)),
  } as Index;
}

/**
 * Reads and parses what `descriptor` names, going by its media type.
 * @throws CORRUPT, UNSUPPORTED for media types that are no image.
 */
export async function readManifest(
  store: Pick<SourceStore, 'readJson'>,
  descriptor: Descriptor,
): Promise<ManifestDocument> {
  const { digest, mediaType } = descriptor;
  checkMediaType(mediaType, digest);
  const isIndex = isIndexType(mediaType);
  if (!isIndex && !isManifestType(mediaType)) {
    throw failure('UNSUPPORTED', digest, `media type ${mediaType} is neither an image nor an index`);
  }
  const bytes = await store.readJson(descriptor);
  if (isIndex) return { kind: 'index', index: parseIndex(bytes, digest) };
  return { kind: 'manifest', manifest: parseManifest(bytes, digest) };
}

/**
 * The descriptors of all that an index holds, those of nested indexes in their place, in order.
 * Not all of them are images: attestations and other artifacts are there as well.
 * @throws CORRUPT, UNSUPPORTED when indexes are nested deeper than 4 or hold more than 10000 manifests in all.
 */
export async function flattenIndex(
  store: Pick<SourceStore, 'readJson'>,
  index: Index,
  what: string,
): Promise<Descriptor[]> {
  const leaves: Descriptor[] = [];
  let visited = 0;
  // The count bounds the work as well: one small index named many times on every level would be read 10^16 times.
  const visit = async (entries: Descriptor[], depth: number): Promise<void> => {
    if (depth > maxIndexDepth)
      throw failure('UNSUPPORTED', what, `indexes nested deeper than ${maxIndexDepth}`);
    for (const entry of entries) {
      if (++visited > maxManifests) throw failure('UNSUPPORTED', what, `more than ${maxManifests} manifests`);
      const nested = isIndexType(entry.mediaType) ? await readManifest(store, entry) : undefined;
      if (nested?.kind === 'index') await visit(nested.index.manifests, depth + 1);
      else leaves.push(entry);
    }
  };
  await visit(index.manifests, 1);
  return leaves;
}

function parseVersion2(
  bytes: Uint8Array,
  what: string,
  isExpected: (mediaType: string) => boolean,
  maxSize?: number,
): JsonObject {
  const object = withoutNulls(parseJsonObject(bytes, what, maxSize), [
    'mediaType',
    'annotations',
    'subject',
    'artifactType',
  ]);
  const { schemaVersion, mediaType } = object;
  if (schemaVersion === 1) throw schema1(what);
  if (schemaVersion !== 2) throw corrupt(what, 'schemaVersion is not 2');
  checkOptionalStrings(object, ['mediaType', 'artifactType'], what);
  checkOptionalStringMap(object, 'annotations', what);
  // A document that calls itself something else than its descriptor does is read differently by different programs.
  if (typeof mediaType === 'string' && !isExpected(mediaType)) {
    checkMediaType(mediaType, what);
    throw corrupt(what, `its mediaType ${mediaType.slice(0, 100)} is not that of its descriptor`);
  }
  return object;
}

function checkMediaType(mediaType: string, what: string): void {
  if (mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+')) throw schema1(what);
}

function schema1(what: string): Error {
  return failure(
    'UNSUPPORTED',
    what,
    'a Docker schema 1 manifest',
    'push the image again with a current program',
  );
}
