import { failure } from '../errors';
import { writeContainerdAnnotations } from '../format/annotations';
import { chunkTableHeaderSize, serializeChunkTable } from '../format/chunk-table';
import { digestOf, formatDigest } from '../format/digest';
import { erofsMediaType } from '../format/media-types';
import { validateEncodeOptions, type EncodeChoices, type EncodeSettings } from '../format/profiles';
import { maxSkippablePayload, serializeSkippableHeader } from '../format/skippable-frame';
import { serializeVeritySuperblock } from '../format/verity-superblock';
import { verityPayloadSize, verityTreeOffset } from '../format/verity-tree-size';
import { writeAtomically } from '../fs/atomic-file';
import type { ResourceOptions } from '../job';
import { native, type EncodedImage, type NativeBlobSink, type NativeSource } from '../native/binding';
import { runNative } from '../native/run';
import type { Descriptor } from '../oci/types';
import { openFileSource } from '../source/file';
import { findTableFrame } from './frame-walk';
import { openLayerImage, type BuildOptions } from './layer-image';
import { mkfsSettings, tarIndexBlockSize } from './mkfs-options';
import { resourcesOf } from './resources';
import { sniffLayer } from './sniff';

/** How a layer is encoded. */
export interface EncodeOptions extends BuildOptions, EncodeChoices {}

/** The descriptor of a seekable blob, and the sizes behind it. */
export interface EncodedLayer extends Descriptor {
  annotations: Record<string, string>;
  /** `sha256:…` of the raw EROFS image, the dm-verity tree not included. */
  diffId: string;
  /** Of the raw image, in bytes. */
  uncompressedSize: number;
  /** Bytes. */
  chunkSize: number;
  chunks: number;
}

/**
 * Encodes one layer (a tar, plain or compressed, or an EROFS image) as a seekable blob (docs/format/containerd-profile.md). The blob
 * appears at `blobPath` when it is complete, or never. USAGE when the layer is a seekable blob already.
 */
export async function encodeLayer(
  layerPath: string,
  blobPath: string,
  options: EncodeOptions = {},
): Promise<EncodedLayer> {
  const settings = settingsOf(options);
  const file = await openFileSource(layerPath);
  try {
    if ((await sniffLayer(file)) === 'zstd' && (await findTableFrame(file, options.signal)) !== null) {
      throw failure('USAGE', layerPath, 'is a seekable blob already', 'see decode');
    }
    const layer = await openLayerImage(file, options);
    try {
      return await writeAtomically(blobPath, ({ fd, name }) =>
        encodeImage(layer.image, { fd, name }, settings, options),
      );
    } finally {
      layer.close();
    }
  } finally {
    await file.close();
  }
}

/** The settings that `options` ask for. USAGE for values that are not written, UNSUPPORTED for a profile that is only read. */
export function settingsOf(options: EncodeOptions): EncodeSettings {
  const settings = settingsOfTree(options, validateEncodeOptions(options));
  if (settings.profile !== 'containerd') {
    throw failure(
      'UNSUPPORTED',
      `profile ${settings.profile}`,
      'it is read, but not written by this version',
    );
  }
  return settings;
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

/** Writes the blob of a raw EROFS image to an empty file; progress calls it `item`. */
export async function encodeImage(
  image: NativeSource,
  blob: { fd: number; name: string },
  settings: EncodeSettings,
  options: ResourceOptions,
  item = blob.name,
): Promise<EncodedLayer> {
  checkSizes(image.size, settings);
  const { threads, tmpDir } = resourcesOf(options);
  const { chunkSize, level } = settings;
  const sink = new native.BlobSink(blob.fd, blob.name);
  const verity = settings.verity && verityParameters(settings.verity);
  const encoded = await runNative(
    options,
    (job) => native.encodeImage(image, sink, { chunkSize, level, threads, tmpDir, verity }, job),
    item,
  );
  try {
    const table = appendTable(sink, image.size, chunkSize, encoded);
    const tree = settings.verity && (await appendTree(sink, settings.verity, encoded, options));
    const { digest, size } = sink.finish();
    return {
      mediaType: erofsMediaType(settings.profile, 'zstd'),
      digest: formatDigest('sha256', digest),
      size,
      annotations: writeContainerdAnnotations({ ...table, verity: tree }),
      diffId: formatDigest('sha256', encoded.diffId),
      uncompressedSize: image.size,
      chunkSize,
      chunks: encoded.offsets.length - 1,
    };
  } finally {
    encoded.verity?.tree.close();
  }
}

type VeritySettings = NonNullable<EncodeSettings['verity']>;

function verityParameters({ algorithm, blockSize, salt }: VeritySettings) {
  return { algorithm, dataBlockSize: blockSize, hashBlockSize: blockSize, salt };
}

/** Both skippable frames must fit their 32-bit length: better refused now than after the work. */
function checkSizes(imageSize: number, { chunkSize, verity }: EncodeSettings): void {
  const tableSize = chunkTableHeaderSize + Math.ceil(imageSize / chunkSize) * (8 + 64);
  if (tableSize > maxSkippablePayload) {
    throw failure(
      'UNSUPPORTED',
      'chunk table',
      `it would have ${tableSize} bytes`,
      'choose a larger chunk size',
    );
  }
  if (verity === null) return;
  if (imageSize === 0) throw failure('USAGE', 'dm-verity', 'an image of 0 bytes has no tree');
  const dataBlocks = Math.ceil(imageSize / verity.blockSize);
  const payload = verityPayloadSize({
    algorithm: verity.algorithm,
    hashBlockSize: verity.blockSize,
    dataBlocks,
  });
  if (payload > maxSkippablePayload) {
    const why = `the tree of ${imageSize} bytes takes ${payload} bytes, and a skippable frame holds less than 4 GiB`;
    throw failure('UNSUPPORTED', 'dm-verity', why, 'choose a larger --dm-verity-block-size');
  }
}

function appendTable(sink: NativeBlobSink, imageSize: number, chunkSize: number, encoded: EncodedImage) {
  const payload = serializeChunkTable({
    version: 1,
    uncompressedSize: imageSize,
    chunkSize,
    hashAlgorithm: 'sha512',
    offsets: encoded.offsets,
    checksums: encoded.checksums,
    checksumSize: 64,
  });
  sink.append(serializeSkippableHeader(payload.length));
  sink.append(payload);
  return { tableOffset: encoded.offsets.at(-1)!, tableDigest: digestOf(payload, 'sha512') };
}

/** Appends superblock, padding and tree; returns what the descriptor says of them. */
async function appendTree(
  sink: NativeBlobSink,
  { algorithm, blockSize, salt }: VeritySettings,
  encoded: EncodedImage,
  options: ResourceOptions,
) {
  const { tree, root, dataBlocks } = encoded.verity!;
  const rootDigest = formatDigest(algorithm, root);
  const start = Buffer.alloc(verityTreeOffset(blockSize));
  start.set(
    serializeVeritySuperblock({
      hashType: 1,
      uuid: native.uuid5(`erofs:verity/${rootDigest}`),
      algorithm,
      dataBlockSize: blockSize,
      hashBlockSize: blockSize,
      dataBlocks,
      salt,
    }),
  );
  const last = encoded.offsets.length - 1;
  const offset = encoded.offsets[last]! + 8 + chunkTableHeaderSize + last * (8 + 64);
  sink.append(serializeSkippableHeader(start.length + tree.size));
  sink.append(start);
  await runNative(options, (job) => sink.appendSource(tree, job));
  return { offset, rootDigest };
}
