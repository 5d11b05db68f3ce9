import { SeekableErofsError, failure } from '../errors';
import { readSuperblock } from '../erofs/superblock';
import { validateEncodeOptions, type EncodeChoices, type EncodeSettings } from '../format/profiles';
import { writeOutput } from '../fs/output-file';
import type { ResourceOptions } from '../job';
import type { NativeSource } from '../native/binding';
import { omit } from '../oci/json';
import { checkOptions } from '../options';
import type { ByteSource } from '../source/byte-source';
import { openInputFile } from '../source/input-file';
import type { BlobTarget } from './blob-target';
import type { FilePieces } from './chunk-borders';
import { encodeContainerd } from './encode-containerd';
import type { EncodedBlob, EncodedLayer } from './encoded-layer';
import { openLayerImage, type BuildOptions } from './layer-image';
import { mkfsSettings, tarIndexBlockSize } from './mkfs/options';
import { asByteSource } from './native-byte-source';
import { sniffLayer } from './sniff';

/** How a layer is encoded. */
export interface EncodeOptions extends BuildOptions, EncodeChoices {}

/**
 * Encodes one layer (a tar, plain or compressed, or an EROFS image) as a seekable blob (docs/format/containerd-profile.md, or
 * docs/format/erofs-image-spec-profile.md). The blob appears at `blobPath` when it is complete, or never. USAGE when the layer is a
 * seekable blob already or the blob would take its place, and for an index that is to be a layer of its own, for which there must be an image.
 * Both may be `-`, standard input and output.
 */
export async function encodeLayer(
  layerPath: string,
  blobPath: string,
  options: EncodeOptions = {},
): Promise<EncodedLayer> {
  checkOptions('encodeLayer', options);
  const settings = settingsOf(options);
  if (settings.index === 'standalone') {
    const why = 'an index of its own is a layer of an image, and this writes one blob';
    throw failure('USAGE', 'place of the index', why, 'see convert');
  }
  const file = await openInputFile(layerPath, options);
  try {
    if (await isSeekableBlob(file, options)) {
      throw failure('USAGE', layerPath, 'is a seekable blob already', 'see decode');
    }
    const layer = await openLayerImage(file, options);
    try {
      const fitting = await settingsForImage(layer.image, settings, options, layerPath);
      const encoded = await writeOutput(
        blobPath,
        ({ fd, name }) => encodeErofs(layer, { fd, name }, fitting, options),
        { ...options, inputs: [file] },
      );
      return omit(encoded, 'indexLayer');
    } finally {
      layer.close();
    }
  } finally {
    await file.close();
  }
}

async function isSeekableBlob(file: ByteSource, { signal }: EncodeOptions): Promise<boolean> {
  if ((await sniffLayer(file)) !== 'zstd') return false;
  const { findTableFrame } = await import('./frame-walk.js');
  return (await findTableFrame(file, signal)) !== null;
}

/** The settings that `options` ask for. USAGE for values that are not written. */
export function settingsOf(options: EncodeOptions): EncodeSettings {
  return settingsOfTree(options, validateEncodeOptions(options));
}

/** A tar index has small blocks, and a kernel mounts no image whose blocks are smaller than those of the device below it. */
function settingsOfTree(options: EncodeOptions, settings: EncodeSettings): EncodeSettings {
  const isIndex = mkfsSettings(options)?.mode === 'index';
  if (!isIndex || settings.verity === null || settings.verity.blockSize === tarIndexBlockSize)
    return settings;
  if (options.dmVerityBlockSize === undefined) {
    return { ...settings, verity: { ...settings.verity, blockSize: tarIndexBlockSize } };
  }
  const why = `a tar index has blocks of ${tarIndexBlockSize}: over larger ones no kernel mounts it`;
  throw failure('USAGE', 'dm-verity block size', why, `leave it out, or give ${tarIndexBlockSize}`);
}

/**
 * The settings for an image that was made by somebody else: no kernel mounts one whose blocks are smaller than those of the device below it,
 * so blocks of dm-verity are no larger than its own. USAGE where larger ones were asked for.
 */
export async function settingsForImage(
  image: NativeSource,
  settings: EncodeSettings,
  { dmVerityBlockSize }: Pick<EncodeOptions, 'dmVerityBlockSize'>,
  name: string,
): Promise<EncodeSettings> {
  if (settings.verity === null) return settings;
  const source = asByteSource(image, name);
  if ((await sniffLayer(source)) !== 'erofs') return settings;
  const blockSize = await blockSizeOf(source);
  if (blockSize === null || blockSize >= settings.verity.blockSize) return settings;
  if (dmVerityBlockSize === undefined) return { ...settings, verity: { ...settings.verity, blockSize } };
  const why = `the image of ${name} has blocks of ${blockSize}: over larger ones no kernel mounts it`;
  throw failure('USAGE', 'dm-verity block size', why, `leave it out, or give ${blockSize}`);
}

/** Null for an image that can't be read: that is for those who read it. */
async function blockSizeOf(image: ByteSource): Promise<number | null> {
  try {
    return (await readSuperblock(image)).blockSize;
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code !== 'IO') return null;
    throw error;
  }
}

/** A raw EROFS image, and where the data of its files lies, when that is known: else it is looked for where it is needed. */
export interface EncodableImage {
  image: NativeSource;
  filePieces?: FilePieces | null | undefined;
}

/** Writes the blob of a raw EROFS image to an empty file; progress calls it `item`. */
export async function encodeErofs(
  { image, filePieces = null }: EncodableImage,
  blob: BlobTarget,
  settings: EncodeSettings,
  options: ResourceOptions,
  item = blob.name,
): Promise<EncodedBlob> {
  if (settings.profile === 'erofs-image-spec') {
    const { encodeSpec } = await import('./encode-spec.js');
    return encodeSpec({ image, filePieces }, blob, settings, options, item);
  }
  return { ...(await encodeContainerd(image, blob, settings, options, item)), indexLayer: null };
}
