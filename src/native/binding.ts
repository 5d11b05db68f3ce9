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

/** Hash algorithms of a Merkle tree. */
export type HashName = 'sha256' | 'sha512';

/** Shape of a Merkle tree. Block sizes are powers of two; the salt is at most 256 bytes. */
export interface VerityParameters {
  algorithm: HashName;
  dataBlockSize: number;
  hashBlockSize: number;
  salt: Uint8Array;
}

/** A file's bytes from `offset`: `bytes`, or `length` bytes of `source` from `address`. */
export type NewPiece =
  | { offset: number; bytes: Uint8Array }
  | { offset: number; source: NativeSource; address: number; length: number };

/** What TreeWriter makes. Paths, targets and xattr names are bytes: strings of one character (0 to 255) each. */
export interface NewEntry {
  kind: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo' | 'socket';
  /** From the root folder, without a slash in front; empty: the root folder. */
  path: string;
  /** A symbolic link's text; the path that a hard link is another name of (it has nothing else). */
  target?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  seconds?: number;
  nanoseconds?: number;
  xattrs?: { name: string; value: Uint8Array }[];
  major?: number;
  minor?: number;
  /** Of a file. Its pieces may come with several entries, one after the other; what no piece covers is a hole. */
  size?: number;
  pieces?: NewPiece[];
  begins?: boolean;
  ends?: boolean;
}

/** What this user or this file system can't have; of a "device", the entry is missing. */
export interface EntryNotice {
  path: string;
  /** "device", "owner", or an xattr's name. */
  subject: string;
  why: string;
}

/** Makes files and folders beneath one folder, never through a symbolic link. One call at a time. */
export interface NativeTreeWriter {
  /** In order; a folder comes before what is in it, and stays private and writable. */
  write(entries: NewEntry[], job: NativeJob): Promise<EntryNotice[]>;
  /** Gives folders their attributes; a folder comes after what is in it. */
  finishFolders(folders: NewEntry[], job: NativeJob): Promise<EntryNotice[]>;
  /** Removes the file that has begun and not ended. */
  abandon(): void;
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
  /** The most common mtime, in whole seconds since 1970; may be negative. */
  epoch: number;
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

/** Entries of a tar, one column a field: element i of each is of entry i. Strings have one character (0–255) a byte. */
export interface TarBatch {
  /** As the tar has them, and those of links; '' of others. */
  names: string[];
  targets: string[];
  /** Numbers of `tar::EntryType`: file, hard link, symlink, character device, block device, directory, FIFO. */
  types: Float64Array;
  /** Permission bits, 07777 at most. */
  modes: Float64Array;
  uids: Float64Array;
  gids: Float64Array;
  /** The mtime: the floor of its seconds, and the nanoseconds above that. */
  seconds: BigInt64Array;
  nanoseconds: Float64Array;
  /** Device numbers. */
  majors: Float64Array;
  minors: Float64Array;
  /** Of files, holes included. */
  sizes: Float64Array;
  /** How many of `ranges` each entry has, and for each of them: offset in the file, offset in the tar, length. */
  rangeCounts: Float64Array;
  ranges: Float64Array;
  /** How many xattrs each entry has, and for each of them: name, value. */
  xattrCounts: Float64Array;
  xattrs: string[];
}

/** A tar being read for its headers. */
export interface NativeTarReader {
  /** The next entries; null at the end. One call at a time. */
  next(job: NativeJob): Promise<TarBatch | null>;
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
  /** `replace` what is in the way (but no folders); restore `owners`. The descriptor stays the caller's. */
  TreeWriter: new (
    root: { fd: number; name: string },
    options: { replace: boolean; owners: boolean },
  ) => NativeTreeWriter;
  /** Reads the tar in `source`, which may be closed. */
  TarReader: new (source: NativeSource) => NativeTarReader;
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
  /**
   * The first `size` bytes of what the zstd frame at the start of `input` decodes to. `whole`: the frame must end there.
   * Bytes after the frame are ignored.
   */
  decompressZstd(input: Uint8Array, options: { size: number; whole: boolean; name: string }): Promise<Buffer>;
  /** The decoded bytes of a blob: frames are checked and decoded when they are read, and ahead of that by `threads`. */
  decodedSource(blob: NativeSource, table: FrameTable, options: { threads: number }): NativeSource;
  verityTree(
    source: NativeSource,
    parameters: VerityParameters,
    options: { threads: number; tmpDir: string },
    job: NativeJob,
  ): Promise<{ tree: NativeSource; root: Buffer; dataBlocks: number }>;
  /** Of each piece, the index of its first byte that is another one in the source from its offset on; -1 when there is none. */
  compareBytes(
    source: NativeSource,
    offsets: Float64Array,
    pieces: readonly Uint8Array[],
  ): Promise<Float64Array>;
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
