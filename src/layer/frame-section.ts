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
