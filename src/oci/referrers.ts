import { digestOf, isDigest } from '../format/digest';
import { serializeJson } from '../format/json';
import { mediaTypes } from '../format/media-types';
import { emptyIndex } from './manifest';
import type { Descriptor, Index } from './types';

/**
 * Manifests that are about another one, their `subject`, by the distribution specification 1.1. Where a store has no list of them, an index
 * under a tag made of the subject's digest is the list. Pure.
 */

/** The config of a manifest that has none. */
export const emptyConfig = {
  bytes: Buffer.from('{}'),
  descriptor: {
    mediaType: mediaTypes.ociEmpty,
    digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    size: 2,
  } satisfies Descriptor,
};

/** The tag of the index that lists what is about the manifest with this digest. */
export function referrersTag(digest: string): string {
  return digest.replace(':', '-').slice(0, 'sha256-'.length + 64);
}

/** Whether a name is one of such an index: no image has it. */
export function isReferrersTag(name: string): boolean {
  return isDigest(name.replace('sha256-', 'sha256:')) || /^sha512-[0-9a-f]{64}$/.test(name);
}

/** What is said of an artifact in the list of its subject's referrers. */
export function referrerEntry(
  { mediaType, digest, size }: Descriptor,
  { artifactType, annotations }: Pick<Descriptor, 'artifactType' | 'annotations'>,
): Descriptor {
  return {
    mediaType,
    digest,
    size,
    ...(artifactType && { artifactType }),
    ...(annotations && { annotations }),
  };
}

/** The list with one more entry, as it is stored. */
export function withReferrer(
  list: Index | null,
  entry: Descriptor,
  what: string,
): { descriptor: Descriptor; bytes: Buffer } {
  const { manifests, ...others } = list ?? emptyIndex();
  const kept = manifests.filter(({ digest }) => digest !== entry.digest);
  const bytes = serializeJson({ ...others, manifests: [...kept, entry] }, what);
  return {
    bytes,
    descriptor: { mediaType: mediaTypes.ociIndex, digest: digestOf(bytes), size: bytes.length },
  };
}
