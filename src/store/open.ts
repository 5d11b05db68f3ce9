import { failure, type SeekableErofsError } from '../errors';
import { placesMeantBy } from '../image-name';
import { checkReferenceName, parseReference } from '../oci/reference';
import type { DestinationStore, SourceStore } from '../oci/store';
import type { DestinationOptions, StoreOptions } from './registry/options';

// Each kind of store is loaded when one is opened: most runs need one or two, and that of registries is large.

/** A store, and the name in it that the reference had (for resolve() and setReference()). */
interface Opened<Store> {
  store: Store;
  reference: string | undefined;
}

/**
 * Opens the store that `text` names an image in.
 * @throws USAGE for what is no image, UNSUPPORTED for transports that this version lacks; NOT_FOUND, IO and CORRUPT.
 */
export async function openSource(text: string, options: StoreOptions = {}): Promise<Opened<SourceStore>> {
  const reference = parseReference(text);
  switch (reference.transport) {
    case 'oci': {
      const { openLayoutSource } = await import('./layout/layout.js');
      return { store: await openLayoutSource(reference.path), reference: reference.reference };
    }
    case 'oci-archive': {
      const { openOciArchiveSource } = await import('./archive/oci-archive.js');
      return { store: await openOciArchiveSource(reference.path, options), reference: reference.reference };
    }
    case 'docker': {
      const { RegistrySource } = await import('./registry/source.js');
      return {
        store: await RegistrySource.open(reference, options),
        reference: reference.digest ?? reference.tag,
      };
    }
    case 'docker-archive': {
      const { openDockerArchiveSource } = await import('./docker/archive.js');
      return {
        store: await openDockerArchiveSource(reference.path, options),
        reference: reference.reference,
      };
    }
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
 * Opens what a destination has already, with the rights of one that writes.
 * @throws as openSource()
 */
export async function openExisting(text: string, options: StoreOptions = {}): Promise<Opened<SourceStore>> {
  const reference = parseReference(text);
  if (reference.transport !== 'docker') return openSource(text, options);
  const { RegistrySource } = await import('./registry/source.js');
  return {
    store: await RegistrySource.open(reference, options, 'pull,push'),
    reference: reference.digest ?? reference.tag,
  };
}

/**
 * Opens the store that `text` names an image in for writing.
 * @throws as openSource(), and USAGE for a name that a layout can't hold.
 */
export async function openDestination(
  text: string,
  options: DestinationOptions = {},
): Promise<Opened<DestinationStore>> {
  const reference = parseReference(text);
  switch (reference.transport) {
    case 'oci': {
      checkName(reference.reference);
      const { LayoutDestination } = await import('./layout/layout.js');
      return { store: await LayoutDestination.open(reference.path, options), reference: reference.reference };
    }
    case 'oci-archive': {
      checkName(reference.reference);
      const { OciArchiveDestination } = await import('./archive/oci-archive.js');
      return {
        store: await OciArchiveDestination.open(reference.path, options),
        reference: reference.reference,
      };
    }
    case 'docker': {
      const { RegistryDestination } = await import('./registry/destination.js');
      return {
        store: await RegistryDestination.open(reference, options),
        reference: reference.tag ?? reference.digest,
      };
    }
    case 'erofs-cache':
      throw failure('USAGE', text, 'erofs-cache: holds layers, no images', 'see convert');
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

function noImage(text: string): SeekableErofsError {
  const hint = placesMeantBy(text) ?? `oci:${text} if it is the folder of an image layout`;
  return failure('USAGE', text, 'it names no image', hint);
}
