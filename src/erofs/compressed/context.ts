/** What an image says about its compression algorithms (superblock, and the configurations after it). */
export interface CompressionAlgorithms {
  /** Bit n = algorithm n may occur: 0 LZ4, 1 LZMA (MicroLZMA), 2 DEFLATE, 3 ZSTD. */
  available: number;
  /** LZ4: how far back matches reach in bytes, and the largest physical cluster in blocks. */
  lz4: { maxDistance: number; maxClusterBlocks: number };
  /** LZMA: dictionary size in bytes; 0 when there is no configuration. */
  lzma: { dictionarySize: number; format: number };
  /** DEFLATE: window bits; 0 when there is no configuration. */
  deflate: { windowBits: number };
  /** ZSTD: base-2 logarithm of the window in bytes; 0 when there is no configuration. */
  zstd: { format: number; windowLog: number };
}

/** What a compressed inode needs from its image. The reads fail with CORRUPT outside of what there is. */
export interface CompressedContext {
  /** What errors call the image. */
  readonly name: string;
  readonly blockSize: number;
  /** Feature 48BIT: extent records instead of cluster indexes are legal. */
  readonly has48Bit: boolean;
  readonly lz4ZeroPadding: boolean;
  readonly algorithms: CompressionAlgorithms;
  /** Raw bytes of the metadata area that the inode lives in: absolute byte offsets (of the image, or of the metabox). */
  readMetadata(offset: number, length: number): Promise<Buffer>;
  /** Bytes of the flat block address space. */
  readData(offset: number, length: number): Promise<Buffer>;
  /** Data of the packed inode (fragments). */
  readFragment(offset: number, length: number): Promise<Buffer>;
}

/** A compressed file (or directory, or symlink). */
export interface CompressedInode {
  readonly layout: 'full' | 'compact';
  /** Uncompressed, in bytes. Below 2^53. */
  readonly size: number;
  /** Where inode and xattrs end, unrounded: an offset for readMetadata. */
  readonly mapStart: number;
  /** Compressed blocks, as the inode has them (not trustworthy). */
  readonly compressedBlocks: number;
  readonly nid: bigint;
}

/** Reads uncompressed bytes of one file. Made by createCompressedReader(context, inode) of ./reader. */
export interface CompressedReader {
  /** Exactly `length` bytes from `offset`; the caller has checked that they are inside of the file. */
  read(offset: number, length: number): Promise<Buffer>;
}
