import { failure, SeekableErofsError } from '../../errors';
import { digestOf } from '../../format/digest';
import { isManifestType } from '../../format/media-types';
import { flattenIndex, readManifest } from '../../oci/manifest';
import type { Descriptor, Manifest } from '../../oci/types';
import type { ArchiveFiles } from '../archive/tar-members';
import type { DockerImage } from './manifest';
import { blobPath, LayoutSource, readLayoutIndex } from '../layout/source';

/** An image of an archive that is an image layout as well. */
interface LayoutImage {
  layout: LayoutSource;
  descriptor: Descriptor;
}

/**
 * What the layout in an archive says of an image that `manifest.json` has: the same config and the same layers. Null when there is no layout.
 * @throws MISMATCH when the two don't agree: programs that read the one and programs that read the other would see different images
 */
export async function agreeingManifest(
  name: string,
  files: ArchiveFiles,
  image: DockerImage,
  config: Uint8Array,
): Promise<LayoutImage | null> {
  if (!files.has('oci-layout') || !files.has('index.json')) return null;
  const layout = await LayoutSource.open(name, {
    open: (path, what) => files.open(path, what),
    close: async () => undefined, // the archive's owner closes it
  });
  const what = `${name}, index.json`;
  const index = await readLayoutIndex(files, what);
  const digest = digestOf(config);
  for (const descriptor of await flattenIndex(layout, index, what)) {
    const manifest = await readIfThere(layout, descriptor);
    if (manifest?.config.digest !== digest) continue;
    if (hasSameLayers(files, image.layers, manifest)) return { layout, descriptor };
  }
  const why = `no image in it has the config ${image.config} and the layers that manifest.json says`;
  throw failure('MISMATCH', what, why, 'oci-archive: reads what index.json says');
}

/** Of an image for several platforms, not all need be in the archive. */
async function readIfThere(layout: LayoutSource, descriptor: Descriptor): Promise<Manifest | null> {
  if (!isManifestType(descriptor.mediaType)) return null;
  try {
    const document = await readManifest(layout, descriptor);
    return document.kind === 'manifest' ? document.manifest : null;
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

/** Whether the paths lead to the blobs of the manifest, one for one. */
function hasSameLayers(files: ArchiveFiles, paths: readonly string[], { layers }: Manifest): boolean {
  if (paths.length !== layers.length) return false;
  return layers.every((layer, i) => files.isSame(paths[i]!, blobPath(layer)));
}
