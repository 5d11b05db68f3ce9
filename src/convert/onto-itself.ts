import { stat } from 'node:fs/promises';
import type { ImageSet } from '../image/image-set';
import type { Reference } from '../oci/reference';
import { refNameAnnotation } from '../store/layout/index-json';

/** The warning about a single image whose name leads to what became of it now; null when its name still leads to the image itself. */
export async function lostNameWarning(
  source: Reference,
  destination: Reference,
  { descriptor, index }: ImageSet,
  digest: string | null,
): Promise<string | null> {
  if (index !== null || digest === descriptor.digest) return null;
  const named = descriptor.annotations?.[refNameAnnotation];
  if (!(await isSameName(source, destination, named))) return null;
  const what = destination.transport === 'docker' ? `${destination.repository}:${destination.tag}` : named;
  return `${what ?? 'the image'} is the converted image now, and what it was, ${descriptor.digest}, has no name any more`;
}

async function isSameName(from: Reference, to: Reference, named: string | undefined): Promise<boolean> {
  if (from.transport === 'docker' && to.transport === 'docker') {
    return from.tag !== undefined && placeOf(from) === placeOf(to);
  }
  if (from.transport !== 'oci' || to.transport !== 'oci' || to.reference !== named) return false;
  const [a, b] = await Promise.all(
    [from, to].map(({ path }) => stat(path, { bigint: true }).catch(() => null)),
  );
  return a != null && a.dev === b?.dev && a.ino === b.ino;
}

function placeOf({ host, repository, tag }: Extract<Reference, { transport: 'docker' }>): string {
  return `${host}/${repository}:${tag}`;
}
