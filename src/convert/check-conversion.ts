import { failure, type SeekableErofsError } from '../errors';
import type { Image, ImageSet } from '../image/image-set';
import type { Difference } from '../image/check/differences';
import type { ConfigDifference } from '../image/check/compare-configs';
import type { StoreOptions } from '../store/registry/options';
import type { ConvertedImage } from './converted-image';
import type { StoreRun } from './run';

/**
 * Compares the images with what was made of them, as `check` does, when all is at the destination and nothing has a name yet.
 * @throws MISMATCH for anything that was lost, UNVERIFIED for layers that can't be compared; layers that were kept as they were are theirs by their digests
 */
export async function checkConversion(
  run: StoreRun,
  { images }: ImageSet,
  converted: readonly ConvertedImage[],
  options: StoreOptions,
): Promise<void> {
  const { DifferenceList } = await import('../image/check/differences.js');
  const { ImagePair } = await import('../image/check/image-pair.js');
  const { destination } = run;
  const openFile = destination.openWritten.bind(destination);
  for (const [i, image] of images.entries()) {
    const differences = new DifferenceList();
    const pair = new ImagePair(run.source, { openFile, openBlob: openFile }, differences, options);
    await pair.check(image, asImage(converted[i]!));
    const [difference] = [...differences.list(), ...pair.total.config];
    const more = differences.count + pair.total.config.length - 1;
    if (difference !== undefined) throw lost(image, difference, more);
    const kept = new Set(converted[i]!.manifest.value.layers.map(({ digest }) => digest));
    const unknown = pair.total.notCompared.find((digest) => !kept.has(digest));
    if (unknown !== undefined) throw failure('UNVERIFIED', `layer ${unknown}`, 'it can not be compared');
  }
}

function asImage({ manifest, config, platform }: ConvertedImage): Image {
  return { descriptor: manifest.descriptor, manifest: manifest.value, config: config.value, platform };
}

function lost(
  { descriptor }: Image,
  difference: Difference | ConfigDifference,
  more: number,
): SeekableErofsError {
  const where = 'path' in difference ? `${difference.path} of layer ${difference.layer}` : 'the config';
  const others = more === 0 ? '' : `, and ${more} more`;
  const why = `what was made of it differs: ${where}, ${difference.field}${others}; nothing was named`;
  return failure('MISMATCH', `image ${descriptor.digest}`, why, 'report it, with the image');
}
