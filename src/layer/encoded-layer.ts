import type { Descriptor } from '../oci/types';

/** The descriptor of a seekable blob, and the sizes behind it. */
export interface EncodedLayer extends Descriptor {
  annotations: Record<string, string>;
  /**
   * `sha256:…` of the raw EROFS image; in profile "erofs-image-spec" of image and dm-verity tree, where that is not compressed of the
   * index as well: the blob's own digest.
   */
  diffId: string;
  /** Of the raw image, in bytes, the dm-verity tree not included. */
  uncompressedSize: number;
  /** Bytes. */
  chunkSize: number;
  chunks: number;
}

/** A chunk index that is a layer of its own, behind the layer that it is for. */
export interface IndexLayer {
  payload: Buffer;
  descriptor: Descriptor;
}

/** What was written; `indexLayer` only where the settings ask for one. */
export interface EncodedBlob extends EncodedLayer {
  indexLayer: IndexLayer | null;
}
