import { failure } from '../errors';
import { formatDigest } from '../format/digest';
import type { ResourceOptions } from '../job';
import { native, type NativeSource, type Slice } from '../native/binding';
import { runNative } from '../native/run';
import type { ByteSource } from '../source/byte-source';
import { resourcesOf, type WarningOptions } from './resources';
import { sniffLayer } from './sniff';

/** EROFS block size of the images that are built here: the only one that kernels before 5.19 mount. */
export const builtBlockSize = 4096;

/** A layer's bytes, decompressed where they were compressed. close() it. */
export interface LayerContent {
  content: NativeSource;
  /** `sha256:…` of the layer's bytes as they came, and of the decompressed ones; null when it was not compressed and so not read. */
  sourceDigest: string | null;
  contentDigest: string | null;
  close(): void;
}

/** The raw EROFS image of a layer, ready to be read anywhere. close() it. */
export interface LayerImage extends Omit<LayerContent, 'content'> {
  image: NativeSource;
  /** Inodes of an image that was planned of a tar; null when the layer is an image itself. */
  inodes: number | null;
}

/** Opens a layer that is no seekable blob: gzip and zstd, told by content, are inflated into an unlinked file. */
export async function openLayerContent(layer: Slice, options: ResourceOptions): Promise<LayerContent> {
  const { tmpDir } = resourcesOf(options);
  const plain = new native.Source(layer);
  try {
    const input = await runNative(options, (job) => native.openInput(plain, { tmpDir }, job), layer.name);
    return {
      content: input.source,
      sourceDigest: input.sourceDigest && formatDigest('sha256', input.sourceDigest),
      contentDigest: input.contentDigest && formatDigest('sha256', input.contentDigest),
      close: () => {
        input.source.close();
      },
    };
  } finally {
    plain.close();
  }
}

/**
 * The image of a layer that is no seekable blob: a tar (plain, gzip, zstd) is planned, an EROFS image (raw, gzip, zstd) is used as it
 * is. CORRUPT and REFUSED name the tar's entry; CORRUPT when the content is neither.
 */
export async function openLayerImage(
  layer: Slice,
  options: ResourceOptions & WarningOptions,
): Promise<LayerImage> {
  const { content, ...rest } = await openLayerContent(layer, options);
  try {
    const kind = await sniffLayer(asByteSource(content, layer.name));
    if (kind === 'erofs') return { ...rest, image: content, inodes: null };
    if (kind !== 'tar' && kind !== 'empty') throw notALayer(layer.name);
    const plan = await runNative(
      options,
      (job) => native.planImage(content, { blockSize: builtBlockSize }, job),
      layer.name,
    );
    for (const line of plan.warnings) options.onWarning?.(line);
    const close = (): void => {
      plan.source.close();
      rest.close();
    };
    return { ...rest, image: plan.source, inodes: plan.inodes, close };
  } catch (error) {
    rest.close();
    throw error;
  }
}

function notALayer(name: string): Error {
  return failure('CORRUPT', name, 'its content is neither a tar nor an EROFS image');
}

/** A native source under the interface of src/source. */
export function asByteSource(source: NativeSource, name: string): ByteSource {
  return {
    size: source.size,
    name,
    read: (offset, length) => source.read(offset, length),
    close: async () => {
      source.close();
    },
  };
}
