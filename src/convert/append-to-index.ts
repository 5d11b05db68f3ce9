import { mediaTypes } from '../format/media-types';
import { hasErofsFeature, machineOf, type ImagePair } from '../oci/erofs-platform';
import type { Descriptor, Index, Platform } from '../oci/types';
import { attestedDigest } from './companions';

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
    manifests: manifests.filter((entry) => !gone.has(attestedDigest(entry) ?? '')),
  };
}

function withPair(manifests: Descriptor[], { tar, erofs }: ImagePair): Descriptor[] {
  const pair = tar.digest === erofs.digest ? [erofs] : [tar, erofs];
  const isReplaced = (old: Descriptor): boolean =>
    pair.some(
      ({ digest, platform }) =>
        isSame(kindOf, old.platform, platform) ||
        (old.digest === digest && (old.platform === undefined || isSame(machineOf, old.platform, platform))),
    );
  const at = manifests.findIndex(isReplaced);
  const kept = manifests.filter((old) => !isReplaced(old));
  // Entries before the first one replaced are all kept, so its position counts among those kept.
  return at < 0 ? [...kept, ...pair] : kept.toSpliced(at, 0, ...pair);
}

/**
 * The images without those that stand beside the tars that they were made of, in an index that images were appended to: the tars are what
 * there is to convert. Pure.
 */
export function withoutCounterparts<T extends { descriptor: Descriptor }>(images: readonly T[]): T[] {
  const isErofs = ({ descriptor }: T): boolean => hasErofsFeature(descriptor.platform);
  const machines = new Set(
    images.flatMap((image) =>
      isErofs(image) || image.descriptor.platform === undefined ? [] : [machineOf(image.descriptor.platform)],
    ),
  );
  return images.filter((image) => !isErofs(image) || !machines.has(machineOf(image.descriptor.platform!)));
}

function isSame(by: (platform: Platform) => string, a: Platform | undefined, b: Platform | undefined) {
  return a !== undefined && b !== undefined && by(a) === by(b);
}

/** Equal for platforms of one machine and one kind of images. */
function kindOf(platform: Platform): string {
  return `${machineOf(platform)} ${hasErofsFeature(platform)}`;
}
