import { SeekableErofsError } from '../errors';
import type { ReadOptions } from '../layer/decode';
import { isDraftImage } from './composition';
import { compositionOf } from './image-layers';
import type { Image } from './image-set';
import { withImageTree, type StoredImage } from './open-view';

/**
 * Checks what only metadata tells of an image of profile "erofs-image-spec": that its layers have the devices that they keep data on, as long as
 * they say, and that files find their data in data-only layers. The data of files is not read. CORRUPT names the rule that is broken;
 * else as openView().
 */
export async function checkFittingLayers(
  store: StoredImage['store'],
  image: Pick<Image, 'manifest' | 'config' | 'descriptor'>,
  options: ReadOptions,
): Promise<void> {
  await checkMetadata(store, image, { ...options, allowUnverified: true, deviceLengths: 'all' });
}

/** The same, as far as it can be seen without fetching layers whole that have no chunk index. */
export async function checkVisiblyFitting(
  store: StoredImage['store'],
  image: Pick<Image, 'manifest' | 'config' | 'descriptor'>,
  options: ReadOptions,
): Promise<void> {
  try {
    await checkMetadata(store, image, { ...options, allowUnverified: false, deviceLengths: 'known' });
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.code !== 'UNVERIFIED') throw error;
  }
}

async function checkMetadata(
  store: StoredImage['store'],
  image: Pick<Image, 'manifest' | 'config' | 'descriptor'>,
  options: Parameters<typeof withImageTree>[1],
): Promise<void> {
  if (!isDraftImage(image.manifest.layers)) return;
  const { data } = compositionOf(image);
  // Whoever reads the layers warns of them.
  const quiet = { ...options, descriptor: undefined, onWarning: () => undefined };
  await withImageTree({ store, image, name: image.descriptor.digest }, quiet, async (tree) => {
    if (data.length > 0) await tree.checkData(options.signal);
  });
}
