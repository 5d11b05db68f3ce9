import { join } from 'node:path';
import load from 'node-gyp-build';
import { SeekableErofsError } from '../errors';

/** `size` bytes of an open file from `offset`; `name` is what errors call it. */
export interface Slice {
  fd: number;
  offset: number;
  size: number;
  name: string;
}

/** A running operation. One job serves one call. */
export interface NativeJob {
  cancel(): void;
  progress(): { phase: string; done: number; total: number };
}

/** Native random-access bytes: a file, an inflated file, a planned image, a Merkle tree. */
export interface NativeSource {
  readonly size: number;
  read(offset: number, length: number): Promise<Buffer>;
  /** Lets go of files and memory; work that has begun goes on. */
  close(): void;
}

/** A blob while it is written: the descriptor's position and the running SHA-256 stay open until finish(). */
export interface NativeBlobSink {
  append(bytes: Uint8Array): void;
  appendSource(source: NativeSource, job: NativeJob): Promise<void>;
  /** The digest (32 bytes) and the length of all that was appended. Called once. */
  finish(): { digest: Buffer; size: number };
}

export type HashName = 'sha256' | 'sha512';

/** Shape of a Merkle tree. Block sizes are powers of two; the salt is at most 256 bytes. */
export interface VerityParameters {
  algorithm: HashName;
  dataBlockSize: number;
  hashBlockSize: number;
  salt: Uint8Array;
}

export interface OpenedInput {
  source: NativeSource;
  compression: 'none' | 'gzip' | 'zstd';
  /** SHA-256 of the bytes as they lay in the slice, and of the decompressed ones; null when not compressed (use hashSource). */
  sourceDigest: Buffer | null;
  contentDigest: Buffer | null;
}

export interface PlannedImage {
  source: NativeSource;
  inodes: number;
  metadataSize: number;
  warnings: string[];
}

export interface EncodedImage {
  /** SHA-256 of the image. */
  diffId: Buffer;
  /** Where each frame begins in the blob, and where the last one ends: frames + 1 numbers. */
  offsets: Float64Array;
  /** SHA-512 of each frame, 64 bytes each. */
  checksums: Buffer;
  verity: { tree: NativeSource; root: Buffer; dataBlocks: number } | null;
}

/** The frames of a blob: frame i is [offsets[i], offsets[i + 1]) of it and decodes to [starts[i], starts[i + 1]). */
export interface FrameTable {
  /** How frames are stored: raw ones (profile "erofs-image-spec" only) are as long as what they decode to. */
  compression: 'zstd' | 'none';
  offsets: Float64Array;
  starts: Float64Array;
  /** Of each frame as stored; empty with `checksumSize` 0 (nothing to compare). */
  checksums: Uint8Array;
  checksumSize: 0 | 32 | 64;
}

/** The tree that a blob must have, and where its bytes are. */
export interface ExpectedTree extends VerityParameters {
  root: Uint8Array;
  /** Bytes of decoded data that the tree covers (padded with zeros to a block). */
  dataSize: number;
  /** Whether `treeOffset` counts in the blob as stored, or in the decoded bytes. */
  location: 'blob' | 'image';
  treeOffset: number;
}

export interface DecodedImage {
  diffId: Buffer;
  /** SHA-256 of the whole blob. */
  blobDigest: Buffer;
}

export interface TarEntry {
  name: string;
  type: 'file' | 'dir' | 'symlink' | 'hardlink' | 'other';
  size: number;
  /** Where the data of a file lies; 0 if none. */
  offset: number;
}

/** The instruction sets in use and the versions of the libraries. */
export interface NativeFeatures {
  sha512Many: string;
  sha256Many: string;
  sha256Stream: string;
  zstd: string;
  openssl: string;
}

/** Exports of native/binding/module.cc. Numbers are checked before they get here; see each file under native/binding. */
export interface Addon {
  Job: new () => NativeJob;
  /** The descriptor stays the caller's, and may be closed at once. */
  Source: new (slice: Slice) => NativeSource;
  BlobSink: new (fd: number, name: string) => NativeBlobSink;
  /** A source as it is, or inflated into an unlinked file of `tmpDir` when it is gzip or zstd (by content). */
  openInput(source: NativeSource, options: { tmpDir: string }, job: NativeJob): Promise<OpenedInput>;
  /** Plans the EROFS image of a tar. */
  planImage(tar: NativeSource, options: { blockSize: number }, job: NativeJob): Promise<PlannedImage>;
  /** Writes a source to a file from `offset` on; resolves with its SHA-256. */
  writeSource(
    source: NativeSource,
    target: { fd: number; offset: number; name: string },
    options: { threads: number },
    job: NativeJob,
  ): Promise<Buffer>;
  encodeImage(
    source: NativeSource,
    sink: NativeBlobSink,
    options: {
      chunkSize: number;
      level: number;
      threads: number;
      tmpDir: string;
      verity: VerityParameters | null;
    },
    job: NativeJob,
  ): Promise<EncodedImage>;
  /** Checks and decodes every frame of a blob; `target` null: checks only. */
  decodeImage(
    blob: NativeSource,
    table: FrameTable,
    options: {
      target: { fd: number; name: string } | null;
      threads: number;
      tmpDir: string;
      verity: ExpectedTree | null;
    },
    job: NativeJob,
  ): Promise<DecodedImage>;
  /** One frame, checked against its checksum (unless that is empty) before it is decoded to exactly `size` bytes. */
  decodeFrame(
    frame: Uint8Array,
    options: { compression: 'zstd' | 'none'; checksum: Uint8Array; size: number; name: string },
  ): Promise<Buffer>;
  verityTree(
    source: NativeSource,
    parameters: VerityParameters,
    options: { threads: number; tmpDir: string },
    job: NativeJob,
  ): Promise<{ tree: NativeSource; root: Buffer; dataBlocks: number }>;
  /** SHA-256 of a source. */
  hashSource(source: NativeSource, job: NativeJob): Promise<Buffer>;
  listTar(source: NativeSource, job: NativeJob): Promise<TarEntry[]>;
  /** Version-5 UUID in the URL namespace, 16 bytes. */
  uuid5(name: string): Buffer;
  /** flock(2): true when the lock was taken, false when another holds it. Released with the descriptor. */
  tryLock(fd: number): boolean;
  features(): NativeFeatures;
}

/** The addon: a prebuilt binary that fits this machine, else what was compiled at install time. */
export const native = loadAddon();

function loadAddon(): Addon {
  try {
    return load(join(__dirname, '..', '..')) as Addon;
  } catch (cause) {
    const why = (cause as Error).message.split('\n')[0]!;
    const hint = 'npm rebuild seekable-erofs-native; in a checkout: npm run build';
    throw new SeekableErofsError('MACHINE', { what: 'native addon', why, hint, cause });
  }
}
