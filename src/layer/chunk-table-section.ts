import { failure } from '../errors';
import type { ContainerdSeekable } from '../format/annotations';
import {
  chunkTableHeaderSize,
  parseChunkTable,
  parseChunkTableHeader,
  type ChunkTable,
} from '../format/chunk-table';
import { checkDigestOf, digestOf } from '../format/digest';
import { parseSkippableHeader, skippableHeaderSize } from '../format/skippable-frame';
import type { ByteSource } from '../source/byte-source';
import { checkChunkSizes, type FrameSection } from './frame-section';

/**
 * Reads the chunk table of a blob of profile "containerd". Its size is compared with the blob's and with what its own header
 * implies before the rest of it is read, its digest before it is parsed.
 */
export async function readChunkTableSection(
  blob: ByteSource,
  { tableOffset, tableDigest }: Pick<ContainerdSeekable, 'tableOffset' | 'tableDigest'>,
  signal?: AbortSignal,
): Promise<FrameSection> {
  const what = `${blob.name}: chunk table`;
  const end = await findEnd(blob, tableOffset, what, signal);
  const payload = await blob.read(
    tableOffset + skippableHeaderSize,
    end - tableOffset - skippableHeaderSize,
    signal,
  );
  if (tableDigest !== null) checkDigestOf(what, tableDigest, payload);
  const table = parseChunkTable(payload, tableOffset, what);
  const { offsets, checksums, checksumSize } = table;
  const frames = { compression: 'zstd', offsets, starts: startsOf(table), checksums, checksumSize } as const;
  checkChunkSizes(frames, what);
  return {
    version: 1,
    offset: tableOffset,
    end,
    digest: tableDigest ?? digestOf(payload, 'sha512'),
    uncompressedSize: table.uncompressedSize,
    chunkSize: table.chunkSize,
    hashAlgorithm: table.hashAlgorithm,
    frames,
  };
}

/** Where the table's frame ends, from its first bytes. */
async function findEnd(
  blob: ByteSource,
  offset: number,
  what: string,
  signal?: AbortSignal,
): Promise<number> {
  const room = blob.size - offset - skippableHeaderSize;
  if (room < chunkTableHeaderSize) {
    throw failure(
      'CORRUPT',
      what,
      `at byte ${offset} of a blob of ${blob.size} bytes there is no room for it`,
    );
  }
  const bytes = await blob.read(offset, skippableHeaderSize + chunkTableHeaderSize, signal);
  const { payloadSize } = parseSkippableHeader(bytes, what);
  const wanted = parseChunkTableHeader(bytes.subarray(skippableHeaderSize), what).payloadSize;
  if (payloadSize !== wanted) {
    throw failure('CORRUPT', what, `its frame holds ${payloadSize} bytes, but its header implies ${wanted}`);
  }
  if (payloadSize > room) {
    throw failure(
      'CORRUPT',
      what,
      `its ${payloadSize} bytes at byte ${offset} end beyond the blob's ${blob.size}`,
    );
  }
  return offset + skippableHeaderSize + payloadSize;
}

/** Chunks are cut at fixed offsets of the image; the last may be short. */
function startsOf({ offsets, chunkSize, uncompressedSize }: ChunkTable): Float64Array {
  return Float64Array.from(offsets, (_, i) => Math.min(i * chunkSize, uncompressedSize));
}
