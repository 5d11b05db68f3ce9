import { checkSameDigest } from '../format/digest';
import type { ImageLayer } from '../image/image-layers';
import { checkBlobDigest, digestOfFile } from '../layer/content-digest';
import { openLayerImage, type BuildOptions } from '../layer/layer-image';
import type { NativeSource } from '../native/binding';
import type { BlobFile } from '../oci/store';

/**
 * Runs `use` on the EROFS image of a layer that is no seekable blob. Its second argument ends when the bytes of the layer are known to be
 * those of its descriptor and its DiffID (MISMATCH): nothing that was made of the image may get a name before. A plain layer was not read
 * whole when its image is opened: that goes on beside `use`.
 */
export async function withLayerImage<T>(
  file: BlobFile,
  { descriptor, diffId }: Pick<ImageLayer, 'descriptor' | 'diffId'>,
  options: BuildOptions,
  use: (image: NativeSource, check: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const layer = await openLayerImage(file, options);
  const hashing = layer.sourceDigest === null ? startHashing(file, options) : null;
  try {
    return await use(layer.image, async () => {
      const digest = layer.sourceDigest ?? (await hashing!.digest);
      await checkBlobDigest(file, descriptor, options, digest);
      checkSameDigest(`${file.name}: DiffID`, diffId, layer.contentDigest ?? digest);
    });
  } finally {
    layer.close();
    await hashing?.stop();
  }
}

/** Hashes a file beside something else; stop() before the file is closed. Its progress is not shown: it is never the slower one. */
function startHashing(file: BlobFile, { signal }: BuildOptions) {
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort();
  };
  signal?.addEventListener('abort', abort, { once: true });
  const digest = digestOfFile(file, { signal: controller.signal });
  digest.catch(() => undefined); // awaited by the one who asked, unless encoding fails first
  const stop = async (): Promise<void> => {
    signal?.removeEventListener('abort', abort);
    abort();
    await digest.catch(() => undefined);
  };
  return { digest, stop };
}
