import { failure } from '../errors';
import { formatDigest } from '../format/digest';
import { writeAtomically } from '../fs/atomic-file';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import { openFileSource } from '../source/file';
import { builtBlockSize, openLayerImage } from './layer-image';
import { resourcesOf, type WarningOptions } from './resources';

/** What was built. */
export interface BuiltErofs {
  /** SHA-256 of the image, as `sha256:…`. */
  diffId: string;
  /** Bytes. */
  size: number;
  /** Inodes, hard links counted once. */
  inodes: number;
  /** Bytes. */
  blockSize: number;
}

/**
 * Builds the raw EROFS image of a tar layer (plain, gzip or zstd, by content), by the policy of docs/format/tar-policy.md. The image
 * appears at `imagePath` when it is complete, or never.
 */
export async function buildErofs(
  tarPath: string,
  imagePath: string,
  options: ResourceOptions & WarningOptions = {},
): Promise<BuiltErofs> {
  const { threads } = resourcesOf(options);
  const tar = await openFileSource(tarPath);
  try {
    const layer = await openLayerImage(tar, options);
    try {
      if (layer.inodes === null) throw failure('USAGE', tarPath, 'is an EROFS image already', 'see encode');
      const { image, inodes } = layer;
      return await writeAtomically(imagePath, async ({ fd, name }) => {
        const digest = await runNative(
          options,
          (job) => native.writeSource(image, { fd, offset: 0, name }, { threads }, job),
          imagePath,
        );
        const diffId = formatDigest('sha256', digest);
        return { diffId, size: image.size, inodes, blockSize: builtBlockSize };
      });
    } finally {
      layer.close();
    }
  } finally {
    await tar.close();
  }
}
