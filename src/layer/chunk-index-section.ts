import { failure } from '../errors';
import type { SpecSeekable } from '../format/annotations';
import {
  chunkIndexHeaderSize,
  parseChunkIndex,
  parseChunkIndexHeader,
  type ChunkIndex,
} from '../format/chunk-index';
import { checkDigestOf, digestOf } from '../format/digest';
import { isSkippableMagic, parseSkippableHeader, skippableHeaderSize } from '../format/skippable-frame';
import type { ByteSource } from '../source/byte-source';
import { frameEnd } from './frame-walk';
import { checkChunkSizes, type FrameSection } from './frame-section';

/**
 * Reads the chunk index of a blob of profile "erofs-image-spec": in a skippable frame behind zstd frames, or as it is behind a raw
 * image. Sizes are checked before the rest is read, its digest before it is parsed.
 */
export async function readChunkIndexSection(
  blob: ByteSource,
  annotations: Pick<SpecSeekable, 'indexStart' | 'indexEnd' | 'indexDigest'>,
  signal?: AbortSignal,
): Promise<FrameSection> {
  const what = `${blob.name}: chunk index`;
  const { indexStart: offset, indexEnd, indexDigest } = annotations;
  if (offset === null) {
    throw failure(
      'UNSUPPORTED',
      what,
      'the blob has none of its own',
      'its index may be the next layer of the image: read it as a part of that',
    );
  }
  const end = indexEnd ?? blob.size;
  if (offset > end || end > blob.size) {
    throw failure('CORRUPT', what, `bytes ${offset} to ${end} do not lie in a blob of ${blob.size}`);
  }
  const payload = await readPayload(blob, offset, end, what, signal);
  if (indexDigest !== null) checkDigestOf(what, indexDigest, payload);
  const digest = indexDigest ?? digestOf(payload, 'sha512');
  return readSection(blob, { payload, digest }, { offset, end }, what, signal);
}

/** A chunk index that is a layer of its own, right behind the layer that it is for. */
export interface LoneIndex {
  /** Checked against `digest`, which the image's manifest vouches for. */
  payload: Uint8Array;
  digest: string;
}

/** The section that a lone index stands for: an empty one at the end of the blob. */
export async function readLoneIndex(
  blob: ByteSource,
  index: LoneIndex,
  signal?: AbortSignal,
): Promise<FrameSection> {
  const place = { offset: blob.size, end: blob.size };
  return readSection(blob, index, place, `${blob.name}: chunk index ${index.digest}`, signal);
}

async function readSection(
  blob: ByteSource,
  { payload, digest }: LoneIndex,
  { offset, end }: { offset: number; end: number },
  what: string,
  signal?: AbortSignal,
): Promise<FrameSection> {
  const index = parseChunkIndex(payload, offset, what);
  const { compression, starts, checksums, checksumSize } = index;
  const frames = {
    compression,
    starts,
    checksums,
    checksumSize,
    offsets: await exactOffsets(blob, index, signal),
  };
  checkChunkSizes(frames, what);
  return {
    version: 1,
    offset,
    end,
    digest,
    uncompressedSize: index.uncompressedSize,
    chunkSize: commonChunkSize(index),
    hashAlgorithm: hashOfSize[index.checksumSize],
    frames,
  };
}

/** The hash of checksums, by their bytes. */
const hashOfSize = { 0: 'none', 32: 'sha256', 64: 'sha512' } as const;

/** Of an index in a frame. */
const framedHeaderSize = skippableHeaderSize + chunkIndexHeaderSize;

async function readPayload(
  blob: ByteSource,
  offset: number,
  end: number,
  what: string,
  signal?: AbortSignal,
) {
  if (end - offset < chunkIndexHeaderSize)
    throw failure('CORRUPT', what, `${end - offset} bytes, less than its header`);
  const bytes = await blob.read(offset, Math.min(end - offset, framedHeaderSize), signal);
  // Behind zstd frames it is in a frame itself, which an image without frames would not pass over.
  const framed = isSkippableMagic(bytes.readUInt32LE(0)) ? skippableHeaderSize : 0;
  const size = end - offset - framed;
  const wanted = parseChunkIndexHeader(bytes.subarray(framed), what).payloadSize;
  const held = framed === 0 ? size : parseSkippableHeader(bytes, what).payloadSize;
  if (held !== size || wanted !== size) {
    throw failure(
      'CORRUPT',
      what,
      `${size} bytes, but its frame holds ${held} and its header implies ${wanted}`,
    );
  }
  return blob.read(offset + framed, size, signal);
}

/** A padding frame may stand between the last chunk and the index: the last chunk is exactly one frame. */
async function exactOffsets(
  blob: ByteSource,
  index: ChunkIndex,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const { offsets, compression } = index;
  const chunks = offsets.length - 1;
  if (compression === 'none' || chunks === 0) return offsets;
  const exact = Float64Array.from(offsets);
  exact[chunks] = await frameEnd(blob, offsets[chunks - 1]!, offsets[chunks]!, signal);
  return exact;
}

function commonChunkSize({ starts }: ChunkIndex): number | null {
  const chunks = starts.length - 1;
  const size = starts[1] ?? 0;
  const same = starts.every((start, i) => i === chunks || start === i * size);
  return same && starts[chunks]! <= chunks * size ? size : null;
}
