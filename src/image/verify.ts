import { SeekableErofsError } from '../errors';
import { isForeignLayer } from '../format/media-types';
import type { ReadOptions } from '../layer/decode';
import { parseReference } from '../oci/reference';
import type { BlobFile, SourceStore } from '../oci/store';
import { openFileSource } from '../source/file';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { openImages, type Image, type PlatformSelection } from './images';
import { layersOf, readIndexOf, type LayerEntry } from './image-layers';
import { verifyLayer, verifyOther, type VerifiedLayer } from './verify-layer';

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
  options: ReadOptions & RegistryOptions & Pick<PlatformSelection, 'platforms'> = {},
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
  options: ReadOptions & RegistryOptions & PlatformSelection,
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

async function verifyLayersOf(store: SourceStore, image: Image, options: ReadOptions) {
  const layers: LayerVerification[] = [];
  for (const layer of layersOf(image)) {
    const { descriptor, diffId, index } = layer;
    if (isForeignLayer(descriptor.mediaType)) {
      options.onWarning?.(`${descriptor.digest}: a non-distributable layer is not verified`);
      continue;
    }
    const whole = { ...options, descriptor: { ...descriptor, diffId } };
    const file = await store.openFile(descriptor, options);
    layers.push(
      await verdict(file, whole, async () =>
        verifyLayer(file, { ...whole, indexLayer: await readIndexOf(store, layer) }),
      ),
    );
    if (index !== null) layers.push(await verifyIndexLayer(store, index, options));
  }
  return layers;
}

/** Its entries are verified with the layer that it is for; here its digests are. */
async function verifyIndexLayer(
  store: SourceStore,
  { descriptor, diffId }: LayerEntry,
  options: ReadOptions,
) {
  const whole = { ...options, descriptor: { ...descriptor, diffId } };
  const file = await store.openFile(descriptor, options);
  return verdict(file, whole, () => verifyOther(file, whole));
}

/** Data that is wrong is a result; that it can't be read is an error. Closes the file. */
async function verdict(
  file: BlobFile,
  options: ReadOptions,
  verify: () => Promise<VerifiedLayer> = () => verifyLayer(file, options),
): Promise<LayerVerification> {
  try {
    return await verify();
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.exitCode !== 3) throw error;
    const { digest = null, diffId = null } = options.descriptor ?? {};
    return { digest, frames: 0, chunksVerified: 0, diffId, merkle: 'absent', error: error.message };
  } finally {
    await file.close();
  }
}
