import { failure } from '../errors';
import { maxZstdContent } from '../format/zstd-frame';
import type { FrameTable } from '../native/binding';

/** A blob's table of frames, checked, whichever profile it is of. */
export interface FrameSection {
  version: 1;
  /** Where the section begins in the blob, and where it ends. */
  offset: number;
  end: number;
  /** `sha512:…` of the payload. */
  digest: string;
  /** Bytes that the frames decode to: the image, and in profile "erofs-image-spec" the tree behind it. */
  uncompressedSize: number;
  /** Bytes of each chunk but the last; null when they differ. */
  chunkSize: number | null;
  hashAlgorithm: 'none' | 'sha256' | 'sha512';
  frames: FrameTable;
}

/** CORRUPT when a chunk is longer than its frame can decode to: before memory is taken for it. `what` is the table. */
export function checkChunkSizes({ compression, offsets, starts }: FrameTable, what: string): void {
  if (compression === 'none') return;
  for (let index = 0; index + 1 < offsets.length; index++) {
    const [stored, size] = [offsets[index + 1]! - offsets[index]!, starts[index + 1]! - starts[index]!];
    if (size <= maxZstdContent(stored)) continue;
    throw failure('CORRUPT', what, `frame ${index} has ${stored} bytes: too few for a chunk of ${size}`);
  }
}
