import { isManifestType } from '../format/media-types';
import type { ImageSet } from '../image/image-set';
import type { Descriptor } from '../oci/types';
import type { ConvertOptions } from './convert-options';

/** What an index has beside images, and a conversion did not carry over. */
export interface LeftOut {
  /** Of images that were left out, or of one that is a manifest without an index now. */
  attestations: number;
  /** Helm charts, signatures and the like. */
  artifacts: number;
}

/** The digest of the image that an attestation is about, as BuildKit writes it; undefined for all else. */
export function attestedDigest({ annotations }: Descriptor): string | undefined {
  return annotations?.['vnd.docker.reference.digest'];
}

/** Whether an entry of an index is about an image rather than one. */
export function isAttestation(entry: Descriptor): boolean {
  return attestedDigest(entry) !== undefined || entry.platform?.os === 'unknown';
}

/** Whether the result is the manifest of one image. */
export function isLone(
  { index, images }: Pick<ImageSet, 'index' | 'images'>,
  { allPlatforms, appendToIndex }: Pick<ConvertOptions, 'allPlatforms' | 'appendToIndex'>,
): boolean {
  return appendToIndex !== true && (index === null || (images.length === 1 && allPlatforms !== true));
}

/** Entries of the source's index that go along as they are: of all platforms all, else the attestations of the images that are taken. Pure. */
export function companionsOf(
  set: ImageSet,
  options: Pick<ConvertOptions, 'allPlatforms' | 'appendToIndex'>,
): Descriptor[] {
  if (isLone(set, options)) return [];
  if (options.allPlatforms === true) return set.others;
  const taken = new Set(set.images.map(({ descriptor }) => descriptor.digest));
  return set.others.filter((other) => taken.has(attestedDigest(other) ?? ''));
}

/** How much of what is no image doesn't go along. Pure. */
export function leftOutOf({ others }: Pick<ImageSet, 'others'>, companions: readonly Descriptor[]): LeftOut {
  const left = others.filter((other) => !companions.includes(other));
  const isArtifact = ({ artifactType, mediaType }: Descriptor): boolean =>
    artifactType !== undefined || !isManifestType(mediaType);
  return {
    attestations: left.filter(isAttestation).length,
    artifacts: left.filter((entry) => !isAttestation(entry) && isArtifact(entry)).length,
  };
}
