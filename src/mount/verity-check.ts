import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { failure, fromSystemError } from '../errors';
import { checkSameDigest, formatDigest } from '../format/digest';
import { verityTreeSize } from '../format/verity-tree-size';
import type { ResourceOptions } from '../job';
import { checkDataTree } from '../layer/data-tree';
import { openFileSource } from '../source/file';
import type { VerityDevice } from './kernel/dm-verity';

/**
 * Compares the top block of a device's tree with the root digest: MISMATCH. One block of data has no tree, and is compared itself. The
 * kernel would accept a device with a wrong root, and fail with EIO only when it is read.
 */
export async function checkTop(file: string, device: VerityDevice): Promise<void> {
  const { superblock, rootDigest, treeOffset } = device;
  const { algorithm, salt, dataBlockSize, hashBlockSize } = superblock;
  const source = await openFileSource(file);
  try {
    const block =
      verityTreeSize(superblock) > 0
        ? await source.read(treeOffset, hashBlockSize)
        : await source.read(0, dataBlockSize);
    const top = createHash(algorithm).update(salt).update(block).digest();
    checkSameDigest(`${file}: dm-verity root`, rootDigest, formatDigest(algorithm, top));
  } finally {
    await source.close();
  }
}

/** MISMATCH unless the tree over the data of a device has the root digest: what the kernel does block by block, done at once. */
export async function checkWholeTree(
  file: string,
  device: VerityDevice,
  options: ResourceOptions,
): Promise<void> {
  const opened = await openFileSource(file);
  try {
    await checkDataTree({ fd: opened.fd, name: file }, device, options);
  } finally {
    await opened.close();
  }
}

/** Reads the beginning of a dm-verity device: through the whole height of the tree. MISMATCH when the kernel finds it wrong. */
export async function readThrough(device: string, name: string): Promise<void> {
  const handle = await open(device, 'r').catch((error: unknown) => {
    throw fromSystemError(device, error);
  });
  try {
    await handle.read(Buffer.alloc(4096), 0, 4096, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EIO') throw fromSystemError(device, error);
    throw failure(
      'MISMATCH',
      name,
      'the kernel finds its first block, or the tree above, other than its root digest',
    );
  } finally {
    await handle.close();
  }
}
