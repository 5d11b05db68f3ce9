import { failure } from '../errors';
import { writeContainerdAnnotations } from '../format/annotations';
import { chunkTableHeaderSize, serializeChunkTable } from '../format/chunk-table';
import { digestOf, formatDigest } from '../format/digest';
import { erofsMediaType } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { maxSkippablePayload, serializeSkippableHeader } from '../format/skippable-frame';
import { verityPayloadSize } from '../format/verity-tree-size';
import type { ResourceOptions } from '../job';
import { native, type EncodedImage, type NativeBlobSink, type NativeSource } from '../native/binding';
import { runNative } from '../native/run';
import { writeBlobTo, type BlobTarget } from './blob-target';
import type { EncodedLayer } from './encoded-layer';
import { resourcesOf } from './resources';
import { verityHead, verityParameters, type VeritySettings } from './verity-payload';

/** Writes a blob as docs/format/containerd-profile.md has it: frames, table, and the dm-verity payload behind that. */
export async function encodeContainerd(
  image: NativeSource,
  blob: BlobTarget,
  settings: EncodeSettings,
  options: ResourceOptions,
  item: string,
): Promise<EncodedLayer> {
  checkSizes(image.size, settings);
  return writeBlobTo(blob, (sink) => writeParts(image, sink, settings, options, item));
}

async function writeParts(
  image: NativeSource,
  sink: NativeBlobSink,
  settings: EncodeSettings,
  options: ResourceOptions,
  item: string,
): Promise<EncodedLayer> {
  const { threads, tmpDir } = resourcesOf(options);
  const { chunkSize, level } = settings;
  const verity = settings.verity && verityParameters(settings.verity);
  let encoded: EncodedImage | undefined;
  try {
    encoded = await runNative(
      options,
      (job) =>
        native.encodeImage(image, sink, { chunkSize, starts: null, level, threads, tmpDir, verity }, job),
      item,
    );
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
    encoded?.verity?.tree.close();
  }
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
  settings: VeritySettings,
  encoded: EncodedImage,
  options: ResourceOptions,
) {
  const { tree } = encoded.verity!;
  const { rootDigest, head } = verityHead(settings, encoded.verity!);
  const last = encoded.offsets.length - 1;
  const offset = encoded.offsets[last]! + 8 + chunkTableHeaderSize + last * (8 + 64);
  sink.append(serializeSkippableHeader(head.length + tree.size));
  sink.append(head);
  await runNative(options, (job) => sink.appendSource(tree, job));
  return { offset, rootDigest };
}
