import { layerFormat } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import type { Descriptor } from '../oci/types';

/** What a layer will take, guessed from its size alone: the layers of distributions and of programs are much alike. */

/** Uncompressed bytes for each byte of a layer. */
const unpacked = { none: 1, gzip: 2.6, zstd: 2.8 } as const;
/** Bytes of a blob for each uncompressed byte, at zstd level 3 in chunks of 512 KiB. */
const packed = 0.4;
/** Bytes of compressed metadata for each uncompressed byte of a tar. */
const metadata = 0.005;
/** Uncompressed bytes that a thread encodes in a second at level 3; each level more takes a fifth longer. */
const encoded = 150e6;
const defaultLevel = 3;
/** Uncompressed bytes that a thread inflates in a second. */
const inflated = { none: Infinity, gzip: 350e6, zstd: 900e6 } as const;

function compressionOf({ mediaType }: Descriptor): keyof typeof unpacked {
  const format = layerFormat(mediaType);
  return format === null || format.kind === 'chunk-index' ? 'none' : format.compression;
}

/** Bytes that the blob of a layer will likely have. */
export function likelySize(layer: Descriptor, { compression }: Pick<EncodeSettings, 'compression'>): number {
  const uncompressed = layer.size * unpacked[compressionOf(layer)];
  return Math.round(compression === 'none' ? uncompressed : uncompressed * packed);
}

/** Bytes that the blob of an image without file data will likely have. */
export function likelyMetadata(layer: Descriptor): number {
  return Math.round(layer.size * unpacked[compressionOf(layer)] * metadata);
}

/** Seconds that one thread will likely take for a layer. */
export function encodeSeconds(
  layer: Descriptor,
  { compression, level }: Pick<EncodeSettings, 'compression' | 'level'>,
): number {
  const kind = compressionOf(layer);
  const uncompressed = layer.size * unpacked[kind];
  const slower = compression === 'none' ? 0.3 : 1.2 ** (level - defaultLevel);
  return uncompressed / inflated[kind] + (uncompressed / encoded) * slower;
}
