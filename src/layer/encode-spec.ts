import { failure } from '../errors';
import { chunkingAnnotation, writeSpecAnnotations } from '../format/annotations';
import { chunkIndexHeaderSize, serializeChunkIndex } from '../format/chunk-index';
import { digestOf, formatDigest } from '../format/digest';
import { erofsMediaType, mediaTypes } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { maxSkippablePayload, serializeSkippableHeader } from '../format/skippable-frame';
import { verityPayloadSize } from '../format/verity-tree-size';
import type { ResourceOptions } from '../job';
import { native, type NativeBlobSink, type NativeSource } from '../native/binding';
import { runNative } from '../native/run';
import { writeBlobTo, type BlobTarget } from './blob-target';
import { chunkBorders, chunkingName, type FilePieces } from './chunk-borders';
import type { EncodedBlob, IndexLayer } from './encoded-layer';
import { readFilePieces } from './file-pieces';
import { asByteSource } from './native-byte-source';
import { resourcesOf } from './resources';
import { verityHead, verityParameters, type VeritySettings } from './verity-payload';

/** The index's frame begins at a multiple of this. */
const indexAlignment = 4;
const checksumSize = 64;
const entrySize = 16 + checksumSize;
const maxChunks = 0xffff_ffff;

/** Writes a blob as docs/format/erofs-image-spec-profile.md has it: image and tree in chunks as one, and the index last or apart. */
export async function encodeSpec(
  { image, filePieces }: { image: NativeSource; filePieces: FilePieces | null },
  blob: BlobTarget,
  settings: EncodeSettings,
  options: ResourceOptions,
  item: string,
): Promise<EncodedBlob> {
  const { chunkSize, chunking, verity } = settings;
  if (verity !== null && image.size === 0)
    throw failure('USAGE', 'dm-verity', 'an image of 0 bytes has no tree');
  checkChunks(Math.ceil((image.size + treeSectionSize(image.size, verity)) / chunkSize), settings);
  const pieces =
    chunking === 'fixed'
      ? null
      : (filePieces ?? (await readFilePieces(asByteSource(image, item), options.signal)));
  const data = await joinTree(image, verity, options, item);
  try {
    const sizes = { imageSize: data.imageSize, dataSize: data.source.size, chunkSize };
    const starts = pieces && chunkBorders(pieces, sizes);
    if (starts !== null) checkChunks(starts.length - 1, settings);
    return await writeBlobTo(blob, (sink) => writeParts({ ...data, starts }, sink, settings, options, item));
  } finally {
    data.close();
  }
}

async function writeParts(
  data: ImageData & { starts: Float64Array | null },
  sink: NativeBlobSink,
  settings: EncodeSettings,
  options: ResourceOptions,
  item: string,
): Promise<EncodedBlob> {
  const stored = await writeChunks(data, sink, settings, options, item);
  const { chunkSize, compression } = settings;
  const { offsets, checksums } = stored;
  const uncompressedSize = data.source.size;
  const starts =
    data.starts ?? Float64Array.from(offsets, (_, i) => Math.min(i * chunkSize, uncompressedSize));
  const index = { uncompressedSize, compression, offsets, starts, checksums, checksumSize } as const;
  const payload = serializeChunkIndex(index);
  const isEmbedded = settings.index === 'embedded';
  const section = isEmbedded ? appendIndex(sink, offsets.at(-1)!, payload, compression) : {};
  const { size, digest: sha256 } = sink.finish();
  const digest = formatDigest('sha256', sha256);
  // Of bytes that are stored as they are, the index behind them is content as well.
  const diffId = compression === 'none' ? digest : formatDigest('sha256', stored.diffId);
  return {
    mediaType: erofsMediaType(settings.profile, compression),
    digest,
    size,
    annotations: {
      ...writeSpecAnnotations({ ...section, uncompressedDigest: diffId, verity: data.verity }),
      ...(data.starts && { [chunkingAnnotation]: chunkingName(chunkSize) }),
    },
    diffId,
    uncompressedSize: data.imageSize,
    chunkSize,
    chunks: offsets.length - 1,
    indexLayer: isEmbedded ? null : indexLayerOf(payload, digest),
  };
}

/** Better refused now than after the work. */
function checkChunks(chunks: number, { index, compression }: EncodeSettings): void {
  const isFramed = index === 'embedded' && compression === 'zstd';
  const limit = isFramed ? Math.floor((maxSkippablePayload - chunkIndexHeaderSize) / entrySize) : maxChunks;
  if (chunks <= limit) return;
  const why = `it would have ${chunks} chunks, and at most ${limit} fit`;
  throw failure('UNSUPPORTED', 'chunk index', why, 'choose a larger chunk size');
}

/** Bytes that dm-verity adds to an image: zeros up to a block, superblock, and tree. */
function treeSectionSize(imageSize: number, verity: VeritySettings | null): number {
  if (verity === null) return 0;
  const { algorithm, blockSize } = verity;
  const dataBlocks = Math.ceil(imageSize / blockSize);
  const payload = verityPayloadSize({ algorithm, hashBlockSize: blockSize, dataBlocks });
  return dataBlocks * blockSize - imageSize + payload;
}

/** What is cut into chunks. */
interface ImageData {
  source: NativeSource;
  /** Bytes before the tree: of the EROFS image, which with dm-verity ends with a block. */
  imageSize: number;
  verity: { hashOffset: number; rootDigest: string; blockSize: number } | null;
  close(): void;
}

/**
 * The image with its tree behind it. The tree is worked out before the first chunk is compressed, for the chunk in which it begins
 * holds the end of the image too; that reads the image twice.
 */
async function joinTree(
  image: NativeSource,
  settings: VeritySettings | null,
  options: ResourceOptions,
  item: string,
): Promise<ImageData> {
  if (settings === null)
    return { source: image, imageSize: image.size, verity: null, close: () => undefined };
  const { blockSize } = settings;
  const built = await runNative(
    options,
    (job) => native.verityTree(image, verityParameters(settings), resourcesOf(options), job),
    item,
  );
  try {
    const { rootDigest, head } = verityHead(settings, built);
    const imageSize = built.dataBlocks * blockSize;
    const padding = new Uint8Array(imageSize - image.size);
    const source = native.concatenate([image, padding, head, built.tree]);
    const verity = { hashOffset: imageSize, rootDigest, blockSize };
    return { source, imageSize, verity, close: source.close.bind(source) };
  } finally {
    built.tree.close();
  }
}

async function writeChunks(
  { source, starts }: { source: NativeSource; starts: Float64Array | null },
  sink: NativeBlobSink,
  { compression, chunkSize, level }: EncodeSettings,
  options: ResourceOptions,
  item: string,
) {
  const { threads, tmpDir } = resourcesOf(options);
  const settings = { chunkSize, starts, level, threads, tmpDir, verity: null };
  return runNative(
    options,
    (job) =>
      compression === 'none'
        ? native.storeImage(source, sink, settings, job)
        : native.encodeImage(source, sink, settings, job),
    item,
  );
}

/** Appends the index at the end of the chunks, in a frame where they are frames; returns what the descriptor says of it. */
function appendIndex(sink: NativeBlobSink, end: number, payload: Buffer, compression: 'zstd' | 'none') {
  const framed = compression === 'zstd';
  const before = framed ? paddingFrame(end) : Buffer.alloc(0);
  const header = framed ? serializeSkippableHeader(payload.length, 'chunk index') : Buffer.alloc(0);
  sink.append(before);
  sink.append(header);
  sink.append(payload);
  const indexStart = end + before.length;
  const indexEnd = indexStart + header.length + payload.length;
  return { indexStart, indexEnd, indexDigest: digestOf(payload, 'sha512') };
}

/** A skippable frame of zeros from `offset` to where the next frame is aligned; nothing when it is already. */
function paddingFrame(offset: number): Buffer {
  const missing = -offset & (indexAlignment - 1);
  if (missing === 0) return Buffer.alloc(0);
  return Buffer.concat([serializeSkippableHeader(missing), Buffer.alloc(missing)]);
}

function indexLayerOf(payload: Buffer, target: string): IndexLayer {
  const digest = digestOf(payload);
  const annotations = writeSpecAnnotations({ indexTarget: target });
  return {
    payload,
    descriptor: { mediaType: mediaTypes.chunkIndex, digest, size: payload.length, annotations },
  };
}
