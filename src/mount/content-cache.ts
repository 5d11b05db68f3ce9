import { ftruncate } from 'node:fs';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';
import { checkSameDigest, formatDigest } from '../format/digest';
import { writeAtomically, type AtomicFile } from '../fs/atomic-file';
import { checkBlobDigest } from '../layer/content-digest';
import { decodeTo, type ReadOptions } from '../layer/decode';
import { materialise } from '../layer/materialise';
import { resourcesOf } from '../layer/resources';
import { imageSizeOf, type SeekableBlob } from '../layer/seekable';
import type { BlobTree } from '../layer/verity-section';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile } from '../oci/store';
import type { VerityDevice } from './dm-verity';
import type { MountState } from './state';

/*
 * Decoded images, one for each key of a layer: keys are made of DiffID and root digest, so a plain and a protected form of a layer never
 * stand in for each other. An image appears when it is whole and checked, and is removed with the last mount of its layer.
 */

/** The image under `key`, made by `make` unless it is there: then `check` looks at what it would have been made of. */
async function cached(
  state: MountState,
  key: string,
  { make, check }: { make: (image: AtomicFile) => Promise<void>; check?: () => Promise<void> },
  signal?: AbortSignal,
): Promise<string> {
  const image = state.contentFile(key);
  await state.lockedContent(
    key,
    async () => {
      if (await hasContent(state, key)) {
        await check?.();
        return;
      }
      await state.makeContentFolder(key);
      await writeAtomically(image, make);
    },
    signal,
  );
  return image;
}

/** Whether a layer's image is there already. */
export async function hasContent(state: MountState, key: string): Promise<boolean> {
  return access(state.contentFile(key)).then(
    () => true,
    () => false,
  );
}

/** Decodes a blob with every check that its descriptor allows; with its tree behind the image where the kernel needs that. */
export function blobContent(
  state: MountState,
  key: string,
  layer: { file: BlobFile; blob: SeekableBlob; diffId: string; withTree: boolean },
  options: ReadOptions,
): Promise<string> {
  const { file, blob, withTree } = layer;
  const decode = async (image: AtomicFile | null): Promise<void> => {
    const { diffId } = await decodeTo(file, blob, image, options);
    checkSameDigest(`${file.name}: DiffID`, layer.diffId, diffId);
  };
  const make = async (image: AtomicFile): Promise<void> => {
    await decode(image);
    if (withTree) await materialise(file, blob.tree!, image, options);
    else await promisify(ftruncate)(image.fd, imageSizeOf(blob));
  };
  return cached(state, key, { make, check: () => decode(null) }, options.signal);
}

/** Copies a raw image of a store, checked against its descriptor. */
export function rawContent(
  state: MountState,
  key: string,
  file: BlobFile,
  options: ReadOptions,
): Promise<string> {
  const make = async (image: AtomicFile): Promise<void> => {
    const source = new native.Source(file);
    const target = { fd: image.fd, name: image.name, offset: 0 };
    try {
      const { threads } = resourcesOf(options);
      const digest = formatDigest(
        'sha256',
        await runNative(options, (job) => native.writeSource(source, target, { threads }, job), file.name),
      );
      const { descriptor } = options;
      if (descriptor !== undefined) await checkBlobDigest(file, descriptor, options, digest);
      if (descriptor?.diffId !== undefined)
        checkSameDigest(`${file.name}: DiffID`, descriptor.diffId, digest);
    } finally {
      source.close();
    }
  };
  return cached(state, key, { make }, options.signal);
}

/** The tree of a blob where materialise() puts it. */
export function materialisedTree(tree: BlobTree): VerityDevice {
  const { superblock, rootDigest, dataSize, payloadOffset, treeOffset, treeSize, location } = tree;
  const { dataBlockSize, hashBlockSize } = superblock;
  const hashOffset = Math.ceil(dataSize / dataBlockSize) * dataBlockSize;
  // A bare superblock gets a whole block; profile "erofs-image-spec" may have none at all.
  const skipped = treeSize === 0 && location === 'blob' ? hashBlockSize : treeOffset - payloadOffset;
  return { superblock, rootDigest, treeOffset: hashOffset + skipped };
}
