import { mediaTypes } from '../format/media-types';
import { normalizePlatform } from '../oci/platform';
import type { Descriptor, Index, Platform } from '../oci/types';

/** An image of tars and what was made of it, both with their platforms. */
export interface ImagePair {
  tar: Descriptor;
  erofs: Descriptor;
}

/** BuildKit's annotation of an attestation: the digest of the image that it is about. */
const attestedAnnotation = 'vnd.docker.reference.digest';

/** An index with nothing in it. */
export const emptyIndex: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };

/**
 * `index` with these images: each pair, the tars first, in the place of what the index has for that platform; everything else stays. What
 * attests an image that goes, goes with it. The same pairs again change nothing. Pure.
 */
export function appendToIndex(index: Index, pairs: readonly ImagePair[]): Index {
  const manifests = pairs.reduce(withPair, index.manifests);
  const stay = new Set(manifests.map(({ digest }) => digest));
  const gone = new Set(index.manifests.flatMap(({ digest }) => (stay.has(digest) ? [] : [digest])));
  return {
    ...index,
    mediaType: mediaTypes.ociIndex,
    manifests: manifests.filter(({ annotations }) => !gone.has(annotations?.[attestedAnnotation] ?? '')),
  };
}

function withPair(manifests: Descriptor[], { tar, erofs }: ImagePair): Descriptor[] {
  const pair = tar.digest === erofs.digest ? [erofs] : [tar, erofs];
  const isReplaced = (old: Descriptor): boolean =>
    pair.some(({ digest, platform }) => old.digest === digest || isSameKind(old.platform, platform));
  const at = manifests.findIndex(isReplaced);
  const kept = manifests.filter((old) => !isReplaced(old));
  // Entries before the first one replaced are all kept, so its position counts among those kept.
  return at < 0 ? [...kept, ...pair] : kept.toSpliced(at, 0, ...pair);
}

/** Whether both are for one machine, and both of tars or both of EROFS. */
function isSameKind(a: Platform | undefined, b: Platform | undefined): boolean {
  return a !== undefined && b !== undefined && kindOf(a) === kindOf(b);
}

function kindOf(platform: Platform): string {
  const { os, architecture, variant, ...more } = normalizePlatform(platform);
  const features = more['os.features']?.toSorted() ?? [];
  return JSON.stringify([os, architecture, variant, more['os.version'] ?? '', features]);
}
