import { failure } from '../errors';
import { formatDigest } from '../format/digest';
import { writeOutput, type OutputFile } from '../fs/output-file';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import { checkOptions } from '../options';
import { openInputFile } from '../source/input-file';
import { openLayerImage, type BuildOptions } from './layer-image';
import { resourcesOf } from './resources';

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
 * Builds the raw EROFS image of a tar layer (plain, gzip or zstd, by content), by the policy of docs/format/tar-policy.md, or as an
 * installed mkfs.erofs does it. The image appears at `imagePath` when it is complete, or never. USAGE when that is the tar itself.
 * Both may be `-`, standard input and output.
 */
export async function buildErofs(
  tarPath: string,
  imagePath: string,
  options: BuildOptions = {},
): Promise<BuiltErofs> {
  checkOptions('buildErofs', options);
  const { threads } = resourcesOf(options);
  const tar = await openInputFile(tarPath, options);
  try {
    const layer = await openLayerImage(tar, options);
    try {
      if (layer.built === null) throw failure('USAGE', tarPath, 'is an EROFS image already', 'see encode');
      const { image, built } = layer;
      const write = async ({ fd, name }: OutputFile): Promise<BuiltErofs> => {
        const digest = await runNative(
          options,
          (job) => native.writeSource(image, { fd, offset: 0, name }, { threads }, job),
          imagePath,
        );
        const diffId = formatDigest('sha256', digest);
        return { diffId, size: image.size, ...built };
      };
      return await writeOutput(imagePath, write, { ...options, inputs: [tar] });
    } finally {
      layer.close();
    }
  } finally {
    await tar.close();
  }
}
