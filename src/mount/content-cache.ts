import { ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { checkSameDigest } from '../format/digest';
import { writeAtomically, type AtomicFile } from '../fs/atomic-file';
import type { ReadOptions } from '../layer/decode';
import { materialise } from '../layer/materialise';
import type { SeekableBlob } from '../layer/seekable';
import type { WholeLayer } from '../layer/whole-layer';
import type { BlobFile } from '../oci/store';
import type { MountState } from './state';

/*
 * Decoded images, one for each key of a layer: keys are made of DiffID and root digest, so a plain and a protected form of a layer never
 * stand in for each other. An image appears when it is whole and checked, and outlives the last mount of its layer (makeRoom()).
 */

/** The image under `key`, made by `make` unless it is there: then `check` looks at what it would have been made of. */
async function cached(
  state: MountState,
  key: string,
  { make, check }: { make: (image: AtomicFile) => Promise<void>; check: () => Promise<void> },
  signal?: AbortSignal,
): Promise<string> {
  const image = state.contentFile(key);
  await state.lockedContent(
    key,
    async () => {
      if (await state.hasContent(key)) {
        await check();
        return;
      }
      await state.makeContentFolder(key);
      await writeAtomically(image, make);
    },
    signal,
  );
  return image;
}

/** A layer to be decoded. */
interface LayerToDecode {
  file: BlobFile;
  layer: WholeLayer;
  diffId: string;
  withTree: boolean;
  /** Of role `device`: all of its bytes count. */
  isDevice: boolean;
}

const pageSize = 4096;

/** The kernel reads whole blocks, and loop devices have no others: zeros fill the last one. */
function deviceSize({ section }: SeekableBlob): number {
  return Math.ceil(section.uncompressedSize / pageSize) * pageSize;
}

/** Decodes a layer with every check that its descriptor allows; with its tree behind the image where the kernel needs that. */
export function layerContent(
  state: MountState,
  key: string,
  { file, layer, diffId, withTree, isDevice }: LayerToDecode,
  options: ReadOptions,
): Promise<string> {
  const { blob } = layer;
  const decode = async (image: AtomicFile | null): Promise<void> => {
    const decoded = await layer.decode(image, options);
    checkSameDigest(`${file.name}: DiffID`, diffId, decoded.diffId);
  };
  const make = async (image: AtomicFile): Promise<void> => {
    await decode(image);
    if (withTree) await materialise(file, blob.tree!, image, options);
    else await promisify(ftruncate)(image.fd, isDevice ? deviceSize(blob) : blob.imageSize);
  };
  return cached(state, key, { make, check: () => decode(null) }, options.signal);
}
