import { failure, type SeekableErofsError } from '../errors';
import type { ResourceOptions } from '../job';
import { checkReferenceName, parseReference, type Reference } from '../oci/reference';
import type { DestinationStore, SourceStore } from '../oci/store';
import { LayoutDestination, openLayoutSource } from './layout';
import { OciArchiveDestination, openOciArchiveSource } from './oci-archive';

/** A store, and the name in it that the reference had (for resolve() and setReference()). */
export interface Opened<Store> {
  store: Store;
  reference: string | undefined;
}

/**
 * Opens the store that `text` names an image in.
 * @throws USAGE for what is no image, UNSUPPORTED for transports that this version lacks; NOT_FOUND, IO and CORRUPT.
 */
export async function openSource(text: string, options: ResourceOptions = {}): Promise<Opened<SourceStore>> {
  const reference = parseReference(text);
  switch (reference.transport) {
    case 'oci':
      return { store: await openLayoutSource(reference.path), reference: reference.reference };
    case 'oci-archive':
      return { store: await openOciArchiveSource(reference.path, options), reference: reference.reference };
    case 'docker':
    case 'docker-archive':
      throw notYet(text, reference);
    case 'erofs-cache':
      throw failure(
        'USAGE',
        text,
        'erofs-cache: is a destination only',
        'images are read from oci: or oci-archive:',
      );
    case 'http':
    case 'file':
      throw noImage(text);
  }
}

/**
 * Opens the store that `text` names an image in for writing.
 * @throws as openSource(), and USAGE for a name that a layout can't hold.
 */
export async function openDestination(
  text: string,
  options: ResourceOptions = {},
): Promise<Opened<DestinationStore>> {
  const reference = parseReference(text);
  switch (reference.transport) {
    case 'oci':
      checkName(reference.reference);
      return { store: await LayoutDestination.open(reference.path, options), reference: reference.reference };
    case 'oci-archive':
      checkName(reference.reference);
      return {
        store: await OciArchiveDestination.open(reference.path, options),
        reference: reference.reference,
      };
    case 'docker':
    case 'erofs-cache':
      throw notYet(text, reference);
    case 'docker-archive':
      throw failure(
        'USAGE',
        text,
        'docker-archive: is a source only',
        'images are written to oci: or oci-archive:',
      );
    case 'http':
    case 'file':
      throw noImage(text);
  }
}

function checkName(name: string | undefined): void {
  if (name !== undefined) checkReferenceName(name);
}

function notYet(text: string, { transport }: Reference): SeekableErofsError {
  return failure('UNSUPPORTED', text, `${transport}: is not in this version`, 'use oci: or oci-archive:');
}

function noImage(text: string): SeekableErofsError {
  return failure('USAGE', text, 'it names no image', `oci:${text} if it is the folder of an image layout`);
}
