import type { LeftOut } from './companions';

/** What became of a layer. */
export interface ResultLayer {
  /** Digest of the source's layer. */
  source: string;
  /** Null in an `erofs-cache:`, whose entries are found by their DiffIDs. */
  digest: string | null;
  size: number;
  /** In an `erofs-cache:` that of the source's layer. */
  diffId: string;
  uncompressedSize: number | null;
  /** Passed through as it was, or converted before. */
  reused: boolean;
  /** The layer before it that has the data of its files, with `deviceTar`. */
  device?: { digest: string; size: number; diffId: string };
}

/** What became of an image. */
export interface ConvertResult {
  source: string;
  destination: string;
  /** Of the manifest or index that was written; null in an `erofs-cache:`, which has none. */
  digest: string | null;
  manifests: {
    /** `os/arch[/variant]`. */
    platform: string;
    /** In an `erofs-cache:` the source's. */
    digest: string;
    layers: ResultLayer[];
  }[];
  /** The run in numbers; a layer that occurs twice counts once. */
  summary: {
    /** Of the manifest or index that the source's reference named. */
    sourceDigest: string;
    layers: number;
    bytesIn: number;
    bytesOut: number;
    seconds: number;
    /** What the source's index has beside images, and was not carried over. */
    leftOut: LeftOut;
  };
}

/** What was written of the images of a run. */
export interface Written extends Pick<ConvertResult, 'digest' | 'manifests'> {
  leftOut: LeftOut;
}
