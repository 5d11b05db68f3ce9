import { goldenFile, goldenImages } from '../erofs/erofs-images';
import { compressedImage, compressedImageNames } from '../erofs/compressed/golden';
import { goodBlobs, readGolden } from '../support/golden';
import { goldenBlob, rawSpecBlob, specBlob } from '../support/sealed-blob';
import { BlobTarget } from './blob-target';
import type { Target } from './case';
import { ImageTarget } from './image-target';

const metaboxImages = ['metabox-lz4.erofs', 'metabox-fragments.erofs', 'metabox-prefixes.erofs'];

/** Every image and every blob of the test vectors, and some blobs of the profile that the vectors lack. */
export async function allTargets(): Promise<Target[]> {
  const targets: Target[] = [];
  for (const name of [...goldenImages().map((image) => image.name), ...metaboxImages]) {
    const devices = name === 'tar-index512.erofs' ? [goldenFile('ref.tar')] : [];
    targets.push(await ImageTarget.create(name, goldenFile(name), devices));
  }
  for (const name of compressedImageNames())
    targets.push(await ImageTarget.create(name, compressedImage(name)));
  for (const { name } of goodBlobs()) targets.push(await BlobTarget.create(name, goldenBlob(name)));
  for (const name of ['small.c4096', 'exact.c65536', 'tiny.c16384.v4096']) {
    targets.push(await BlobTarget.create(`${name}, chunk index`, specBlob(name)));
  }
  const raw = rawSpecBlob(readGolden('images/small.erofs'), 4096);
  targets.push(await BlobTarget.create('small.erofs, raw, chunk index', raw));
  return targets;
}
