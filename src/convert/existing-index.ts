import { failure, SeekableErofsError } from '../errors';
import type { ImageSet } from '../image/image-set';
import { flattenIndex, readManifest } from '../oci/manifest';
import { formatPlatform, normalizePlatform } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { Descriptor, Index } from '../oci/types';
import { publicName } from '../public-name';
import { refNameAnnotation } from '../store/layout/index-json';
import { openExisting } from '../store/open';
import type { StoreOptions } from '../store/registry/options';
import { companionsOf, isAttestation } from './companions';
import type { ConvertOptions } from './convert-options';

/** The index that a destination's name stands for before it is written. */
interface ExistingIndex {
  descriptor: Descriptor;
  index: Index;
  /** What it names, those of nested indexes in their place. */
  entries: Descriptor[];
}

/** Null when the name is new or stands for something else; an archive is written anew. */
export async function readExistingIndex(
  destination: string,
  options: StoreOptions,
): Promise<ExistingIndex | null> {
  if (parseReference(destination).transport === 'oci-archive') return null;
  try {
    const { store, reference } = await openExisting(destination, options);
    try {
      const named = await store.resolve(reference);
      // Without a name the only image of a layout is found, but only one without a name is replaced.
      if (reference === undefined && named.annotations?.[refNameAnnotation] !== undefined) return null;
      const { mediaType, digest, size } = named;
      const descriptor = { mediaType, digest, size };
      const document = await readManifest(store, descriptor);
      if (document.kind !== 'index') return null;
      return {
        descriptor,
        index: document.index,
        entries: await flattenIndex(store, document.index, digest),
      };
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

/**
 * Refuses to replace an index that names a manifest which the run neither writes nor carries over, attestations aside. Called without
 * `written` before anything is converted, it refuses what can be seen already: nothing that is written is for that platform.
 * @throws USAGE
 */
export function checkNothingLost(
  destination: string,
  { entries }: ExistingIndex,
  set: ImageSet,
  options: ConvertOptions,
  written?: readonly Descriptor[],
): void {
  const digests = new Set(entries.map(({ digest }) => digest));
  const kept = new Set([...companionsOf(set, options), ...(written ?? [])].map(({ digest }) => digest));
  // What an image becomes takes its place, unless it has a place of its own already.
  for (const [i, { descriptor }] of set.images.entries()) {
    const became = written?.[i]?.digest;
    if (became === undefined || became === descriptor.digest || !digests.has(became))
      kept.add(descriptor.digest);
  }
  const platforms = new Set(set.images.map((image) => spelled(image.config)));
  const mayBeWritten = ({ platform }: Descriptor): boolean =>
    written === undefined && (platform === undefined || platforms.has(spelled(platform)));
  const lost = entries.filter(
    (entry) => !isAttestation(entry) && !kept.has(entry.digest) && !mayBeWritten(entry),
  );
  if (lost.length > 0) throw refusal(destination, lost);
}

/** One spelling for a platform; features and versions don't count. */
function spelled(platform: Parameters<typeof normalizePlatform>[0]): string {
  return formatPlatform(normalizePlatform(platform));
}

function refusal(destination: string, lost: readonly Descriptor[]): SeekableErofsError {
  const [first] = lost;
  const name = first?.platform === undefined ? '' : `${formatPlatform(first.platform)} `;
  const more = lost.length > 1 ? ` and ${lost.length - 1} more` : '';
  return failure(
    'USAGE',
    publicName(destination),
    `it is an index, and ${name}${first!.digest}${more} would be lost`,
    '--all-platforms converts all of the source, --append-to-index keeps what is there, --replace replaces it',
  );
}
