import { failure } from '../../errors';
import { isDigest } from '../../format/digest';
import { isIndexType, isManifestType } from '../../format/media-types';
import { corrupt, omit, parseJsonObject } from '../../oci/json';
import { isReferrersTag, referrersTag } from '../../oci/referrers';
import type { Descriptor, Index } from '../../oci/types';

/** The two files at the root of an image layout, in a folder or in an archive. Pure. */

/** The annotation that a layout's REF is. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name';

/** Content of the file `oci-layout`. */
export const layoutMarker = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/**
 * Checks the content of the file `oci-layout`.
 * @throws CORRUPT, UNSUPPORTED for a later major version.
 */
export function checkLayoutMarker(bytes: Uint8Array, what: string): void {
  const { imageLayoutVersion: version } = parseJsonObject(bytes, what);
  if (typeof version !== 'string') throw corrupt(what, 'imageLayoutVersion is not a string');
  if (!version.startsWith('1.'))
    throw failure('UNSUPPORTED', what, `image layout version ${version.slice(0, 20)}`);
}

/**
 * The descriptor that `reference` names in an index.json: by its name, by `@digest`, or without a reference the only one.
 * @throws NOT_FOUND, listing the names there are; CORRUPT when two different images have the name.
 */
export function findReference(index: Index, reference: string | undefined, what: string): Descriptor {
  const images = index.manifests.filter(isImage);
  const found = images.filter((entry) => isNamed(entry, reference));
  const [first] = found;
  if (first === undefined) {
    const why =
      reference === undefined ? 'there is no image in it' : `there is no image "${reference}" in it`;
    throw failure('NOT_FOUND', what, why, nameList(images));
  }
  if (found.every(({ digest }) => digest === first.digest)) return first;
  if (reference === undefined) throw failure('NOT_FOUND', what, 'several images are in it', nameList(images));
  throw corrupt(what, `${found.length} images have the name "${reference}"`);
}

/**
 * An index.json in which `reference` names `descriptor`, in the place of what it named before. Without a reference,
 * the only image without a name is replaced. All else is kept.
 */
export function withReference(index: Index, reference: string | undefined, descriptor: Descriptor): Index {
  const annotations = {
    ...omit(descriptor.annotations ?? {}, refNameAnnotation),
    ...(reference !== undefined && { [refNameAnnotation]: reference }),
  };
  const entry: Descriptor = {
    ...omit(descriptor, 'annotations'),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
  const unnamed = index.manifests.filter(
    (old) => isImage(old) && old.annotations?.[refNameAnnotation] === undefined,
  );
  const isReplaced = (old: Descriptor): boolean =>
    reference === undefined
      ? unnamed.length === 1 && old === unnamed[0]
      : old.annotations?.[refNameAnnotation] === reference;
  const at = index.manifests.findIndex(isReplaced);
  const kept = index.manifests.filter((old) => !isReplaced(old));
  // Entries before the first one replaced are all kept, so its position counts among those kept.
  const manifests = at < 0 ? [...kept, entry] : kept.toSpliced(at, 0, entry);
  return { ...index, manifests };
}

/** The index that lists what is about the manifest with this digest. */
export function findReferrers(index: Index, digest: string): Descriptor | undefined {
  const tag = referrersTag(digest);
  return index.manifests.find(
    ({ mediaType, annotations }) => isIndexType(mediaType) && annotations?.[refNameAnnotation] === tag,
  );
}

function isImage({ mediaType, annotations }: Descriptor): boolean {
  if (isReferrersTag(annotations?.[refNameAnnotation] ?? '')) return false;
  return isIndexType(mediaType) || isManifestType(mediaType);
}

function isNamed(entry: Descriptor, reference: string | undefined): boolean {
  if (reference === undefined) return true;
  const digest = reference.startsWith('@') ? reference.slice(1) : '';
  return isDigest(digest) ? entry.digest === digest : entry.annotations?.[refNameAnnotation] === reference;
}

function nameList(images: Descriptor[]): string {
  const shown = 20;
  const names = [...new Set(images.flatMap((image) => image.annotations?.[refNameAnnotation] ?? []))];
  if (names.length === 0)
    return images.length === 0 ? 'it is empty' : 'its images have no names; use @DIGEST';
  return `there is ${names.slice(0, shown).join(', ')}${names.length > shown ? ', …' : ''}`;
}
