import { join } from 'node:path';
import load from 'node-gyp-build';
import { SeekableErofsError } from '../errors';
import { withNodeErrors, type NativeFiles } from './files';
import type { FuseEvent, NativeFuseServer } from './fuse-server';
import { classThrowingOurs, throwingOurs } from './native-error';
import type { SystemCalls } from './system-calls';

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

/** A file that is filled, front to back, while native code reads it: a read waits until its bytes are there. */
interface NativeArrival {
  /** All of the file; each call gives another handle. */
  source(): NativeSource;
  /** The first `size` bytes are there. */
  arrived(size: number): void;
  /** No more will come: who waits for more is told CANCELLED. Lets go of the file; sources go on with what they have. */
  stop(): void;
}

/** A blob while it is written: the running SHA-256, and a descriptor of its own until finish() or close(). */
export interface NativeBlobSink {
  /** So many bytes from the first on are in the file, and stay as they are; 0 once it was finished or closed. */
  readonly written: number;
  append(bytes: Uint8Array): void;
  appendSource(source: NativeSource, job: NativeJob): Promise<void>;
  /** The digest (32 bytes) and the length of all that was appended. Called once. */
  finish(): { digest: Buffer; size: number };
  /** Lets go of the file, and of the disk space of a draft that was given up. Work that has begun goes on. */
  close(): void;
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

/** Entries for a TreeWriter in columns (src/image/extract/columns.ts). */
export interface TreeParcel {
  numbers: Float64Array;
  text: Uint8Array;
  sources: NativeSource[];
  buffers: Uint8Array[];
}

/** What this user or this file system can't have; of a "device", the entry is missing. */
export interface EntryNotice {
  path: string;
  /** "device", "owner", or an xattr's name. */
  subject: string;
  why: string;
}

/** Makes files and folders beneath one folder, never through a symbolic link. */
export interface NativeTreeWriter {
  /** In order; folders must be there, and stay private and writable. Several calls at once, if none needs what another makes. */
  write(parcel: TreeParcel, job: NativeJob): Promise<EntryNotice[]>;
  /** Gives folders their attributes; a folder comes after what is in it. Alone. */
  finishFolders(parcel: TreeParcel, job: NativeJob): Promise<EntryNotice[]>;
  /** Removes the files that have begun and not ended. Alone. */
  abandon(): void;
  /** Removes all that write() made, and nothing that is there besides. Alone; it can't be cancelled. */
  removeMade(job: NativeJob): Promise<void>;
  /** Removes all that is in the folder. Alone. */
  removeAll(job: NativeJob): Promise<void>;
}

interface OpenedInput {
  source: NativeSource;
  compression: 'none' | 'gzip' | 'zstd';
  /** SHA-256 of the bytes as they lay in the slice, and of the decompressed ones; null when not compressed (use hashSource). */
  sourceDigest: Buffer | null;
  contentDigest: Buffer | null;
}

interface PlannedImage {
  source: NativeSource;
  inodes: number;
  metadataSize: number;
  /** The most common mtime, in whole seconds since 1970; may be negative. */
  epoch: number;
  /** Where the hot part ends, filling included; 0: there is none. */
  hotEnd: number;
  /** Indices of those of `hotPaths` that are files. */
  hotFound: number[];
  /** Whether the image needs the device: not where no file has data. */
  hasDevice: boolean;
  /** Offset in the image and length of each piece of a file that lies together, in turn; none unless asked for. */
  filePieces: Float64Array;
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
export interface ExpectedVerityTree extends VerityParameters {
  root: Uint8Array;
  /** Bytes of decoded data that the tree covers (padded with zeros to a block). */
  dataSize: number;
  /** Whether `treeOffset` counts in the blob as stored, or in the decoded bytes. */
  location: 'blob' | 'image';
  treeOffset: number;
}

interface DecodedImage {
  diffId: Buffer;
  /** SHA-256 of the whole blob. */
  blobDigest: Buffer;
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
interface NativeTarReader {
  /** The next entries; null at the end. One call at a time. */
  next(job: NativeJob): Promise<TarBatch | null>;
}

/** The instruction sets in use and the versions of the libraries. */
interface NativeFeatures {
  sha512Many: string;
  sha256Many: string;
  sha256Stream: string;
  zstd: string;
  openssl: string;
}

/** What a frame has to be; `name` is what errors call it. */
export interface FrameOptions {
  /** Of what it decodes to, in bytes. */
  length: number;
  compression: 'zstd' | 'none';
  /** 32 or 64 bytes, or none. */
  checksum: Uint8Array;
  name: string;
}

/**
 * Exports of native/binding/module.cc. Numbers are checked before they get here; see each file under native/binding. What is passed is
 * copied before a call returns: buffers may be changed, resized or transferred at once.
 */
interface Addon {
  Job: new () => NativeJob;
  /** The descriptor stays the caller's, and may be closed at once. */
  Source: new (slice: Slice) => NativeSource;
  /** The descriptor stays the caller's, and may be closed at once. */
  Arrival: new (file: Omit<Slice, 'offset'>) => NativeArrival;
  BlobSink: new (fd: number, name: string, isTemporary?: boolean) => NativeBlobSink;
  /** `replace` what is in the way (but no folders); restore `owners`. The descriptor stays the caller's. */
  TreeWriter: new (
    root: { fd: number; name: string },
    options: { replace: boolean; owners: boolean },
  ) => NativeTreeWriter;
  /** Serves on a descriptor of /dev/fuse, which stays the caller's. */
  FuseServer: new (
    options: { fd: number; threads: number },
    onEvent: (event: FuseEvent) => void,
  ) => NativeFuseServer;
  /** Reads the tar in `source`, which may be closed. */
  TarReader: new (source: NativeSource) => NativeTarReader;
  /** A source as it is, or inflated into memory or an unlinked file of `tmpDir` when it is gzip or zstd (by content). */
  openInput(source: NativeSource, options: { tmpDir: string }, job: NativeJob): Promise<OpenedInput>;
  /** Plans the EROFS image of a tar. Metadata of more than a MiB goes to an unlinked file of `tmpDir`. */
  planImage(
    tar: NativeSource,
    options: {
      blockSize: number;
      /** Drop what would hide lower layers. */
      bottomLayer: boolean;
      threads: number;
      tmpDir: string;
      /** Files whose data comes first, in this order: their paths from the root, and offsets and lengths in turn (none: the whole file). */
      hotPaths: readonly Uint8Array[];
      hotRanges: readonly Float64Array[];
      /** Zeros fill the image up to a multiple of so many bytes where the hot part ends. */
      hotBorder: number;
      /** Say where the data of files lies. */
      listFiles: boolean;
      /** The image has metadata alone, and points at this tar as its device, whose slot has this tag; null: it has the data itself. */
      deviceTag: string | null;
    },
    job: NativeJob,
  ): Promise<PlannedImage>;
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
      /** Where chunks begin, and the size behind the last; null: every `chunkSize` bytes. */
      starts: Float64Array | null;
      level: number;
      threads: number;
      tmpDir: string;
      verity: VerityParameters | null;
    },
    job: NativeJob,
  ): Promise<EncodedImage>;
  /** As encodeImage(), but the chunks are stored as they are. */
  storeImage(
    source: NativeSource,
    sink: NativeBlobSink,
    options: { chunkSize: number; starts: Float64Array | null; threads: number },
    job: NativeJob,
  ): Promise<Omit<EncodedImage, 'verity'>>;
  /** Sources and bytes behind each other, as one source; the parts may be closed. */
  concatenate(parts: readonly (NativeSource | Uint8Array)[]): NativeSource;
  /** Checks and decodes every frame of a blob; `target` null: checks only. */
  decodeImage(
    blob: NativeSource,
    table: FrameTable,
    options: {
      /** `sync`: it is synced afterwards. */
      target: { fd: number; name: string; sync: boolean } | null;
      threads: number;
      tmpDir: string;
      verity: ExpectedVerityTree | null;
    },
    job: NativeJob,
  ): Promise<DecodedImage>;
  /** One frame, checked against its checksum (unless that is empty) before it is decoded to exactly `length` bytes. */
  decodeFrame(frame: Uint8Array, options: FrameOptions): Promise<Buffer>;
  /** As decodeFrame(), to a file: the bytes never are JavaScript's. Resolves with their SHA-256. */
  placeFrame(
    frame: Uint8Array,
    options: FrameOptions,
    target: { fd: number; offset: number; name: string },
  ): Promise<Buffer>;
  /**
   * A zstd frame that is too large for memory: what it decodes to, exactly `length` bytes, goes to a file. Its checksum is the caller's. Resolves
   * with the SHA-256 of what it decodes to and of `zeros` bytes behind that, which are not written.
   */
  inflateFrame(
    frame: NativeSource,
    options: { length: number; zeros: number; name: string },
    target: { fd: number; offset: number; name: string },
    job: NativeJob,
  ): Promise<Buffer>;
  /** As decodeFrame() of the `size` bytes at `offset` of `source`. */
  readFrame(source: NativeSource, options: FrameOptions & { offset: number; size: number }): Promise<Buffer>;
  /** Decodes the first `length` bytes of the zstd frame at the start of `input`. `whole`: the frame must end with them. Bytes after the frame are ignored. */
  decompressZstd(
    input: Uint8Array,
    options: { length: number; whole: boolean; name: string },
  ): Promise<Buffer>;
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
  /** Version-5 UUID in the URL namespace, 16 bytes. */
  uuid5(name: string): Buffer;
  /** flock(2): true when the lock was taken, false when another holds it. Released with the descriptor. */
  tryLock(fd: number): boolean;
  features(): NativeFeatures;
  sys: SystemCalls;
  files: NativeFiles;
}

/** The addon: what was compiled on this machine, else a prebuilt binary that fits it. */
export const native = loadAddon();

/** All but `sys`, whose callers act on the system's numbers. */
function withOwnErrors(addon: Addon): Addon {
  return {
    ...addon,
    Source: classThrowingOurs(addon.Source),
    Arrival: classThrowingOurs(addon.Arrival),
    BlobSink: classThrowingOurs(addon.BlobSink),
    TreeWriter: classThrowingOurs(addon.TreeWriter),
    TarReader: classThrowingOurs(addon.TarReader),
    concatenate: throwingOurs((parts) => addon.concatenate(parts)),
    decodedSource: throwingOurs((...args) => addon.decodedSource(...args)),
    tryLock: throwingOurs((fd) => addon.tryLock(fd)),
    files: withNodeErrors(addon.files),
  };
}

function loadAddon(): Addon {
  try {
    return withOwnErrors(load(join(__dirname, '..', '..')) as Addon);
  } catch (cause) {
    const why = (cause as Error).message.split('\n')[0]!;
    const hint = 'npx seekable-erofs-build compiles it for this machine; in a checkout: npm run build';
    throw new SeekableErofsError('MACHINE', { what: 'native addon', why, hint, cause });
  }
}
