import type { JobOptions } from '../job';
import type { ByteSource } from '../source/byte-source';
import type { Descriptor } from './types';

/** A blob as a part of an open file, so that native code can read it (fd, offset, size, name) as well; close it after use. */
export interface BlobFile extends ByteSource {
  readonly fd: number;
  readonly offset: number;
}

/** A blob that is still being fetched, front to back, into its file. */
export interface ArrivingBlob extends BlobFile {
  /** Ends when all of it is there; nothing is checked but the size. @throws why it will never be */
  readonly arrival: Promise<void>;
  /** Says how many bytes are there, now and whenever there are more; null: no more will come. */
  onArrival(listener: (size: number | null) => void): void;
  /** Gives the disk its room back, when all bytes are there, were found to be right, and nobody reads them again. */
  letGo(): Promise<void>;
  readonly isLetGo: boolean;
}

export function isArriving(file: BlobFile): file is ArrivingBlob {
  return 'arrival' in file;
}

/** A blob being made for a store. Exactly one of commit() and discard() ends it. */
export interface BlobDraft {
  /** Write here, from the descriptor's start; the bytes have no name in the store yet. */
  readonly fd: number;
  readonly name: string;
  /** Whether the file itself is given up once it is committed. Default: false. */
  readonly isTemporary?: boolean;
  /** Told now and then, while the blob is made, and at its end, that its first `size` bytes will not change: a store may send them on. */
  onWritten?(size: number): void;
  /** Makes what was written a blob under `descriptor.digest`, atomically; a blob that is there already stays. */
  commit(descriptor: Descriptor): Promise<void>;
  discard(): Promise<void>;
}

/** Where images are read from. All stores speak this. */
export interface SourceStore {
  /** What errors and summaries call it, e.g. `oci:dir`. */
  readonly name: string;
  /** The descriptor of what `reference` names: a manifest or an index. NOT_FOUND says which references there are. */
  resolve(reference: string | undefined): Promise<Descriptor>;
  /** A small blob, whole (manifest, index, config), checked against its digest and size; at most 4 MiB. */
  readJson(descriptor: Descriptor): Promise<Buffer>;
  /** A blob for random access. NOT checked against its digest: readers hash what they use. */
  openBlob(descriptor: Descriptor): Promise<ByteSource>;
  /** A blob as a local file (fetched first where it isn't one). NOT checked against its digest. */
  openFile(descriptor: Descriptor, options?: JobOptions): Promise<BlobFile>;
  /** As openFile(), of a store whose blobs take time to fetch: it ends with the first byte, and the rest goes on until close(). */
  openArriving?(descriptor: Descriptor, options?: JobOptions): Promise<BlobFile>;
  /**
   * The manifests of `artifactType` that are listed as being about the one with this digest. Whoever may write to the store has listed
   * them: only their content says what they are. Absent where a store keeps none.
   */
  referrers?(digest: string, artifactType: string): Promise<Descriptor[]>;
  close(): Promise<void>;
}

/** Where images are written to. Nothing is visible under a reference before setReference(). */
export interface DestinationStore {
  readonly name: string;
  has(descriptor: Descriptor): Promise<boolean>;
  /** Has a blob taken over from another place of the same server; false where that can't be. Absent in stores that know no other places. */
  takeOver?(descriptor: Descriptor, place: string): Promise<boolean>;
  createBlob(): Promise<BlobDraft>;
  writeBlob(descriptor: Descriptor, bytes: Uint8Array): Promise<void>;
  /** A blob that has() says is there, as SourceStore.openFile() gives it: what was written can be looked at before it has a name. */
  openWritten(descriptor: Descriptor, options?: JobOptions): Promise<BlobFile>;
  /** Points `reference` at a manifest or index that is in the store; the last step of every conversion. */
  setReference(reference: string | undefined, descriptor: Descriptor): Promise<void>;
  /**
   * Writes a manifest about the one with the digest `subject`, so that referrers() of that gives it; `entry` is what the list says of it.
   * Its blobs must be there. Absent where a store keeps none.
   */
  addReferrer?(subject: string, entry: Descriptor, bytes: Uint8Array): Promise<void>;
  /** Ends the writing; an archive appears under its name now. */
  close(): Promise<void>;
  /** Ends the writing after a failure: leaves nothing half-written. */
  abort(): Promise<void>;
}
