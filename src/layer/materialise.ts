import { ftruncate, writeFile } from 'node:fs';
import { promisify } from 'node:util';
import { serializeDmveritySidecar } from '../format/dmverity-sidecar';
import { writeAtomically, type SyncOptions } from '../fs/atomic-file';
import type { OutputFile } from '../fs/output-file';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile } from '../oci/store';
import { resourcesOf } from './resources';
import type { BlobTree } from './verity-section';

/** What the sidecar says of a device that holds image and tree. */
interface Materialised {
  /** Of image, superblock and tree, in bytes. */
  size: number;
  dmverity: { rootDigest: string; hashOffset: number };
}

/**
 * Makes a decoded image a device for dm-verity, data and tree in one (docs/format/containerd-profile.md): pads the image to a
 * block, puts superblock and tree behind it, and gives the sidecar `IMAGE.dmverity` its name; the image's own is the caller's to give.
 */
export async function materialise(
  blob: BlobFile,
  tree: BlobTree,
  image: OutputFile,
  options: ResourceOptions & SyncOptions,
): Promise<Materialised> {
  const { dataBlockSize, hashBlockSize } = tree.superblock;
  const { payloadOffset, treeOffset, treeSize, rootDigest } = tree;
  const hashOffset = Math.ceil(tree.dataSize / dataBlockSize) * dataBlockSize;
  const payloadSize = treeOffset + treeSize - payloadOffset;
  // The kernel wants a whole block even for a superblock that stands alone.
  const size = hashOffset + Math.max(payloadSize, hashBlockSize);
  await promisify(ftruncate)(image.fd, size);
  if (tree.location === 'blob') {
    await copyPayload(
      blob,
      { offset: payloadOffset, size: payloadSize },
      { ...image, offset: hashOffset },
      options,
    );
  }
  const write = async ({ fd }: OutputFile): Promise<void> => {
    await promisify(writeFile)(fd, serializeDmveritySidecar({ rootDigest, hashOffset }));
  };
  await writeAtomically(sidecarPath(image.name), write, { sync: options.sync });
  return { size, dmverity: { rootDigest, hashOffset } };
}

/** Where the sidecar of an image lies. */
export function sidecarPath(imagePath: string): string {
  return `${imagePath}.dmverity`;
}

/** The tree of a blob where materialise() puts it. */
export function materialisedTree(tree: BlobTree): Pick<BlobTree, 'superblock' | 'rootDigest' | 'treeOffset'> {
  const { superblock, rootDigest, dataSize, payloadOffset, treeOffset, treeSize, location } = tree;
  const { dataBlockSize, hashBlockSize } = superblock;
  const hashOffset = Math.ceil(dataSize / dataBlockSize) * dataBlockSize;
  // A bare superblock gets a whole block; profile "erofs-image-spec" may have none at all.
  const skipped = treeSize === 0 && location === 'blob' ? hashBlockSize : treeOffset - payloadOffset;
  return { superblock, rootDigest, treeOffset: hashOffset + skipped };
}

async function copyPayload(
  blob: BlobFile,
  payload: { offset: number; size: number },
  target: { fd: number; name: string; offset: number },
  options: ResourceOptions,
): Promise<void> {
  const { threads } = resourcesOf(options);
  const { fd, name } = blob;
  const source = new native.Source({ fd, name, offset: blob.offset + payload.offset, size: payload.size });
  try {
    await runNative(options, (job) => native.writeSource(source, target, { threads }, job), target.name);
  } finally {
    source.close();
  }
}
