import { checkSameDigest } from '../format/digest';
import { readSeekableAnnotations } from '../format/annotations';
import { isErofsLayer } from '../format/media-types';
import type { LoneIndex } from '../layer/chunk-index-section';
import { checkBlobDigest, digestOfFile } from '../layer/content-digest';
import { openLayerImage, type BuildOptions, type LayerImage } from '../layer/layer-image';
import type { BlobDigests, DecodeTarget } from '../layer/decode';
import { isSeekableLayer } from '../layer/seekable';
import { openWholeLayer, type WholeLayer } from '../layer/whole-layer';
import type { BlobFile } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { giveUpInflated } from './arriving-layer';
import type { LayerCall } from './run';
import type { ConversionPool } from './pool';

/** An EROFS image as a layer has it: in frames, or followed by a tree. close() it. */
export interface StoredImage extends Pick<WholeLayer, 'kind' | 'blob' | 'close'> {
  /** Writes the image to `target`, or nowhere (null), when there are threads for it; checks all that the descriptor vouches for. */
  decode: (target: DecodeTarget | null) => Promise<BlobDigests>;
}

/** Whether chunks of a layer can be read and checked one by one. */
export function isSeekable(descriptor: Descriptor, indexLayer: LoneIndex | undefined): boolean {
  return isErofsLayer(descriptor.mediaType) && isSeekableLayer(descriptor, indexLayer);
}

/** Opens the image that a layer has already; null for a layer that it is made of, or that is nothing else: see withLayerImage(). */
export async function openStoredImage(
  pool: ConversionPool,
  file: BlobFile,
  { layer: { descriptor, diffId }, options }: LayerCall,
  indexLayer: LoneIndex | undefined,
): Promise<StoredImage | null> {
  const isTrusted = !isSeekable(descriptor, indexLayer);
  if (isTrusted && !hasTree(descriptor)) return null;
  // Without a table, the digests of the whole layer vouch for it.
  const allow = isTrusted ? { allowUnverified: true } : {};
  const own = { ...options, ...allow, descriptor: { ...descriptor, diffId }, indexLayer };
  const whole = await openWholeLayer(file, own);
  const { kind, blob } = whole;
  const decode: StoredImage['decode'] = (target) =>
    pool.compute(blob.section.frames.offsets.length - 1, options.signal, (threads) =>
      whole.decode(target, { ...own, threads }),
    );
  return {
    kind,
    blob,
    decode,
    close: () => {
      whole.close();
    },
  };
}

/** Of a layer without a table, only the descriptor tells where its image ends and a tree begins. */
function hasTree({ mediaType, annotations }: Descriptor): boolean {
  return isErofsLayer(mediaType) && readSeekableAnnotations(annotations)?.verity != null;
}

/**
 * Runs `use` on the EROFS image of a layer that is no seekable blob. Its second argument ends when the bytes of the layer are known to be
 * those of its descriptor and its DiffID (MISMATCH): nothing that was made of the image may get a name before. A plain layer was not read
 * whole when its image is opened: that goes on beside `use`.
 */
export async function withLayerImage<T>(
  file: BlobFile,
  { layer: { descriptor, diffId }, options }: LayerCall,
  use: (
    layer: Pick<LayerImage, 'image' | 'hot' | 'built' | 'filePieces' | 'hasDevice'>,
    check: () => Promise<void>,
  ) => Promise<T>,
): Promise<T> {
  const opened = await openLayerImage(file, options);
  const hashing = opened.sourceDigest === null ? startHashing(file, options) : null;
  try {
    const isChecked = await giveUpInflated(file, opened, descriptor, options);
    return await use(opened, async () => {
      const digest = opened.sourceDigest ?? (await hashing!.digest);
      if (!isChecked) await checkBlobDigest(file, descriptor, options, digest);
      checkSameDigest(`${file.name}: DiffID`, diffId, opened.contentDigest ?? digest);
    });
  } finally {
    opened.close();
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
