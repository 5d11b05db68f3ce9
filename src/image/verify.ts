import { SeekableErofsError } from '../errors';
import { isForeignLayer } from '../format/media-types';
import type { ReadOptions } from '../layer/decode';
import { parseReference } from '../oci/reference';
import type { BlobFile, SourceStore } from '../oci/store';
import { openFileSource } from '../source/file';
import { openSource } from '../store/open';
import { openImages, type Image, type PlatformSelection } from './images';
import { verifyLayer, type VerifiedLayer } from './verify-layer';

/** One layer's verdict; members that are not known of a bad layer are null. */
export interface LayerVerification extends Omit<VerifiedLayer, 'digest' | 'diffId'> {
  digest: string | null;
  diffId: string | null;
  /** What is wrong; absent of a good layer. */
  error?: string;
}

/** What was verified. */
export interface Verification {
  /** False when anything is corrupt, or not what it should be. */
  ok: boolean;
  layers: LayerVerification[];
}

/**
 * Checks everything that can be checked of an image (all platforms, unless some are named) or of a layer in a file: every digest and
 * size, each frame's checksum and length, DiffIDs, and the whole Merkle tree. What is wrong with a layer is in the result; it rejects
 * when something can't be read, and when a manifest or config is wrong.
 */
export async function verifyImage(
  refOrPath: string,
  options: ReadOptions & Pick<PlatformSelection, 'platforms'> = {},
): Promise<Verification> {
  const layers =
    parseReference(refOrPath).transport === 'file'
      ? [await verifyFile(refOrPath, options)]
      : await verifyReference(refOrPath, options);
  return { ok: layers.every(({ error }) => error === undefined), layers };
}

async function verifyFile(path: string, options: ReadOptions): Promise<LayerVerification> {
  return verdict(await openFileSource(path), options);
}

async function verifyReference(
  text: string,
  options: ReadOptions & PlatformSelection,
): Promise<LayerVerification[]> {
  const { platforms } = options;
  const { store, reference } = await openSource(text, options);
  try {
    const { images } = await openImages(store, reference, {
      platforms,
      allPlatforms: platforms === undefined,
    });
    const layers: LayerVerification[] = [];
    for (const image of images) layers.push(...(await verifyLayersOf(store, image, options)));
    return layers;
  } finally {
    await store.close();
  }
}

async function verifyLayersOf(store: SourceStore, { manifest, config }: Image, options: ReadOptions) {
  const layers: LayerVerification[] = [];
  for (const [i, descriptor] of manifest.layers.entries()) {
    if (isForeignLayer(descriptor.mediaType)) {
      options.onWarning?.(`${descriptor.digest}: a non-distributable layer is not verified`);
      continue;
    }
    const diffId = config.rootfs.diff_ids[i];
    const file = await store.openFile(descriptor, options);
    layers.push(await verdict(file, { ...options, descriptor: { ...descriptor, diffId } }));
  }
  return layers;
}

/** Data that is wrong is a result; that it can't be read is an error. Closes the file. */
async function verdict(file: BlobFile, options: ReadOptions): Promise<LayerVerification> {
  try {
    return await verifyLayer(file, options);
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.exitCode !== 3) throw error;
    const { digest = null, diffId = null } = options.descriptor ?? {};
    return { digest, frames: 0, chunksVerified: 0, diffId, merkle: 'absent', error: error.message };
  } finally {
    await file.close();
  }
}
