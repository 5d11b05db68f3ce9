import { webcrypto } from 'node:crypto';
import { fdatasync, read } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { failure, fromSystemError } from '../errors';
import { syncFolder } from '../fs/atomic-file';
import { writeFully } from '../fs/write-fully';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import { readExactly } from './chunk-list';

const readFd = promisify(read);

/** Names in a store's folder. */
const dataName = 'data';
const digestsName = 'digests';
/** Bytes of a chunk's digest: the first of its SHA-256. Zeros: the chunk is not here. */
const digestSize = 16;

/** Stores that this process has closed, by their folders, the oldest first: what of them was compared, and what their files were like. */
const closedStores = new Map<string, { stamp: string; checked: Uint8Array }>();
const maxClosedStores = 1000;
/** More than a tick of any kernel's, in milliseconds. */
const clockTick = 50;

/** Where a chunk goes. `name` is for errors. */
export interface ChunkPlace {
  fd: number;
  offset: number;
  name: string;
}

/**
 * The chunks of one layer that are here: a sparse file with each chunk at its place, and a file with the digest of each. A digest is written
 * only after its data was synced, so a crash costs what came last. Chunks that another process wrote are compared with their digests before
 * this one gives them out: a disk that lost what it had synced, or files that were set back, cost chunks as well, and never serve wrong ones.
 * What this process had compared when it closed a store counts again if nobody has changed the files since. One process writes at a time: the
 * lazy server.
 */
export class ChunkStore {
  /** Chunks in the file, synced or not: a bit each. */
  private readonly present: Uint8Array;
  /** Of them, what this process wrote, or has compared with its digest: a bit each, the lowest first. */
  readonly checked: Uint8Array;
  /** Comparisons under way, by chunk. */
  private readonly checking = new Map<number, Promise<boolean>>();
  /** Chunks in the file whose digest is not on disk yet, and their digests. */
  private unsynced = new Map<number, Uint8Array>();
  private syncing: Promise<void> = Promise.resolve();
  /** Work on the files that is under way. */
  private readonly uses = new Set<Promise<unknown>>();
  private readonly closing = new AbortController();
  /** How many chunks are here, and the bytes of them. */
  count = 0;
  bytes = 0;

  private constructor(
    readonly folder: string,
    private readonly data: FileHandle,
    private readonly digestFile: FileHandle,
    private readonly starts: Float64Array,
    /** As on disk, of the chunks that were here when the store was opened. */
    private readonly digests: Buffer,
  ) {
    this.present = new Uint8Array(Math.ceil(this.chunks / 8));
    this.checked = new Uint8Array(this.present.length);
    for (let chunk = 0; chunk < this.chunks; chunk++)
      if (this.digestOf(chunk).some((byte) => byte !== 0)) this.add(chunk);
  }

  /**
   * Opens the store in `folder`, which must be there, and makes what it lacks. Chunk i is the bytes [starts[i], starts[i + 1]) of the layer's
   * file. Files of other lengths are of another layer: they are made anew.
   * @throws IO, NO_SPACE
   */
  static async open(folder: string, starts: Float64Array): Promise<ChunkStore> {
    const digests = Buffer.alloc((starts.length - 1) * digestSize);
    const sizes = { data: starts.at(-1)!, digests: digests.length };
    try {
      const kept = await openKept(folder, sizes);
      const files = kept ?? (await makeAnew(folder, sizes));
      if (kept !== null) await kept.digests.read(digests, 0, digests.length, 0);
      const store = new ChunkStore(folder, files.data, files.digests, starts, digests);
      if (kept !== null) await store.recall();
      return store;
    } catch (error) {
      throw fromSystemError(folder, error);
    }
  }

  get chunks(): number {
    return this.starts.length - 1;
  }

  get isComplete(): boolean {
    return this.count === this.chunks;
  }

  /** For native code that reads from it what is checked. It stays this store's; who works with it for longer does so in use(). */
  get fd(): number {
    return this.data.fd;
  }

  /** Where the layer's bytes are. */
  get path(): string {
    return join(this.folder, dataName);
  }

  has(chunk: number): boolean {
    return hasBit(this.present, chunk);
  }

  /** Whether a chunk can be read as it is; one that is here and was not compared yet can not. */
  isChecked(chunk: number): boolean {
    return hasBit(this.checked, chunk);
  }

  /**
   * Runs work on the files: they stay open until it has ended. Its signal is aborted when the store is to be closed.
   * @throws CANCELLED when the store is closed, or is about to be
   */
  async use<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.closing;
    if (signal.aborted) throw failure('CANCELLED', this.path, 'the layer is not served any more');
    const running = work(signal);
    this.uses.add(running);
    try {
      return await running;
    } finally {
      this.uses.delete(running);
    }
  }

  /** Reads bytes of chunks that are here, from `position` of the layer's file. */
  async read(bytes: Buffer, position: number): Promise<void> {
    await this.use(() => readFd(this.data.fd, bytes, 0, bytes.length, position));
  }

  /** Compares a chunk with its digest, once. False when it is not here; one that is not what it was is not here from then on. */
  async check(chunk: number): Promise<boolean> {
    if (!this.has(chunk) || this.isChecked(chunk)) return this.has(chunk);
    let checking = this.checking.get(chunk);
    if (checking === undefined) {
      checking = this.use(() => this.compare(chunk)).finally(() => this.checking.delete(chunk));
      this.checking.set(chunk, checking);
    }
    return checking;
  }

  /** Whether all chunks are here, each compared with its digest. */
  async checkAll(): Promise<boolean> {
    for (let chunk = 0; this.isComplete && chunk < this.chunks; chunk++) await this.check(chunk);
    return this.isComplete;
  }

  /** Puts a verified chunk at its place. NO_SPACE leaves it absent. */
  async write(chunk: number, bytes: Uint8Array): Promise<void> {
    await this.fill(chunk, async ({ fd, offset }) => {
      await writeFully(fd, bytes, offset).catch((error: unknown) => {
        throw fromSystemError(this.path, error);
      });
      return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes)); // not in this thread: it has readers to answer
    });
  }

  /**
   * Takes a chunk that `put` verifies and writes to its place, and whose SHA-256 it resolves with; the digest follows on the disk with the
   * next sync(). When that fails, the chunk stays absent.
   */
  async fill(chunk: number, put: (target: ChunkPlace) => Promise<Uint8Array>): Promise<void> {
    const target = { fd: this.data.fd, offset: this.starts[chunk]!, name: this.path };
    const sha256 = await this.use(() => put(target));
    if (this.has(chunk)) return;
    this.add(chunk);
    setBit(this.checked, chunk);
    this.unsynced.set(chunk, sha256.subarray(0, digestSize));
  }

  /** Makes what was written last: data first, then the digests that speak for it. Calls take turns; what one failed to sync is the next one's. */
  async sync(): Promise<void> {
    this.syncing = this.syncing.catch(() => undefined).then(() => this.syncOnce());
    return this.syncing;
  }

  /** Forgets all chunks. Their data stays until other data takes its place: reads of it may be under way. */
  async clear(): Promise<void> {
    await this.sync();
    this.digests.fill(0);
    try {
      await writeFully(this.digestFile.fd, this.digests, 0);
      await promisify(fdatasync)(this.digestFile.fd);
    } catch (error) {
      throw fromSystemError(this.folder, error);
    }
    for (const bits of [this.present, this.checked]) bits.fill(0);
    this.count = this.bytes = 0;
  }

  /** Waits for work under way, syncs, and lets go of the files. */
  async close(): Promise<void> {
    this.closing.abort();
    try {
      await Promise.allSettled(this.uses);
      await this.sync();
      await this.remember();
    } finally {
      await this.data.close();
      await this.digestFile.close();
    }
  }

  private async remember(): Promise<void> {
    closedStores.delete(this.folder);
    const { stamp, changedAt } = await this.stamp();
    // Another change within a tick of the clock that stamps files might not show.
    if (Date.now() - changedAt > clockTick) closedStores.set(this.folder, { stamp, checked: this.checked });
    for (const folder of closedStores.keys()) {
      if (closedStores.size <= maxClosedStores) break;
      closedStores.delete(folder);
    }
  }

  private async recall(): Promise<void> {
    const known = closedStores.get(this.folder);
    closedStores.delete(this.folder);
    if (known?.checked.length !== this.checked.length) return;
    if (known.stamp !== (await this.stamp()).stamp) return;
    for (const [i, bits] of known.checked.entries()) this.checked[i] = bits & this.present[i]!;
  }

  /** `stamp` is another after any change of the files, and when others are in their place. */
  private async stamp(): Promise<{ stamp: string; changedAt: number }> {
    const files = [this.data, this.digestFile].map((file) => file.stat({ bigint: true }));
    const stats = await Promise.all(files);
    const changedAt = Math.max(...stats.map(({ ctimeMs }) => Number(ctimeMs)));
    return { stamp: stats.map(({ dev, ino, ctimeNs }) => `${dev} ${ino} ${ctimeNs}`).join(' '), changedAt };
  }

  private async syncOnce(): Promise<void> {
    const chunks = this.unsynced;
    if (chunks.size === 0) return;
    this.unsynced = new Map();
    try {
      await promisify(fdatasync)(this.data.fd);
      for (const [chunk, digest] of chunks) await writeFully(this.digestFile.fd, digest, chunk * digestSize);
      await promisify(fdatasync)(this.digestFile.fd);
    } catch (error) {
      for (const [chunk, digest] of chunks) this.unsynced.set(chunk, digest);
      throw fromSystemError(this.folder, error);
    }
  }

  private async compare(chunk: number): Promise<boolean> {
    const [offset, end] = [this.starts[chunk]!, this.starts[chunk + 1]!];
    const source = new native.Source({ fd: this.data.fd, name: this.path, offset, size: end - offset });
    try {
      const digest = await runNative({}, (job) => native.hashSource(source, job));
      if (digest.subarray(0, digestSize).equals(this.digestOf(chunk))) {
        setBit(this.checked, chunk);
        return true;
      }
    } catch {
      // The disk does not give it back: it is as good as lost.
    } finally {
      source.close();
    }
    this.remove(chunk);
    return false;
  }

  private digestOf(chunk: number): Buffer {
    return this.digests.subarray(chunk * digestSize, (chunk + 1) * digestSize);
  }

  private add(chunk: number): void {
    setBit(this.present, chunk);
    this.count++;
    this.bytes += this.starts[chunk + 1]! - this.starts[chunk]!;
  }

  private remove(chunk: number): void {
    this.present[chunk >> 3]! &= ~(1 << (chunk & 7));
    this.count--;
    this.bytes -= this.starts[chunk + 1]! - this.starts[chunk]!;
  }
}

function hasBit(bits: Uint8Array, index: number): boolean {
  return (bits[index >> 3]! & (1 << (index & 7))) !== 0;
}

function setBit(bits: Uint8Array, index: number): void {
  bits[index >> 3]! |= 1 << (index & 7);
}

interface Files {
  data: FileHandle;
  digests: FileHandle;
}

/** Null unless both files are there, with these sizes. */
async function openKept(folder: string, sizes: Record<keyof Files, number>): Promise<Files | null> {
  const opened: Partial<Files> = {};
  for (const [name, path] of [
    ['data', dataName],
    ['digests', digestsName],
  ] as const) {
    const handle = await open(join(folder, path), 'r+').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    });
    if (handle !== null) opened[name] = handle;
    if (handle !== null && (await handle.stat()).size === sizes[name]) continue;
    await Promise.all(Object.values(opened).map((file) => file.close()));
    return null;
  }
  return opened as Files;
}

/**
 * New files in the place of what is there: that is not emptied, since it may have another name as a decoded layer. The digests go first and
 * come last: they must never outlive their data.
 */
async function makeAnew(folder: string, sizes: Record<keyof Files, number>): Promise<Files> {
  for (const name of [digestsName, dataName])
    if (await removeFile(join(folder, name))) await syncFolder(folder);
  const data = await makeFile(join(folder, dataName), sizes.data);
  try {
    return { data, digests: await makeFile(join(folder, digestsName), sizes.digests) };
  } catch (error) {
    await data.close();
    throw error;
  }
}

/** False when there was none. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Not synced: until a digest is, what a crash leaves of new files is nothing, shorter than it should be, or without digests. */
async function makeFile(path: string, size: number): Promise<FileHandle> {
  const handle = await open(path, 'wx+', 0o600);
  try {
    await handle.truncate(size);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Which chunks the store in a folder has just now, whoever has it open. */
export class StoredDigests {
  private constructor(private readonly bytes: Buffer) {}

  /** None where they can't be read. */
  static async read(folder: string): Promise<StoredDigests> {
    return new StoredDigests(await readFile(join(folder, digestsName)).catch(() => Buffer.alloc(0)));
  }

  has(chunk: number): boolean {
    return this.bytes.subarray(chunk * digestSize, (chunk + 1) * digestSize).some((byte) => byte !== 0);
  }
}

/**
 * A chunk of the store in `folder`, whoever has it open, compared with its digest; null when it is not there (or not synced yet), or not what was
 * stored. `length` bytes from `start` of the layer's file. Rejects with what the system says.
 */
export async function readStoredChunk(
  folder: string,
  { index, start, length }: { index: number; start: number; length: number },
): Promise<Buffer | null> {
  const digests = await open(join(folder, digestsName), 'r');
  try {
    const digest = await readExactly(digests, index * digestSize, digestSize);
    if (digest?.some((byte) => byte !== 0) !== true) return null;
    const data = await open(join(folder, dataName), 'r');
    try {
      const bytes = await readExactly(data, start, length);
      const actual = bytes && new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes));
      return actual && digest.equals(actual.subarray(0, digestSize)) ? bytes : null;
    } finally {
      await data.close();
    }
  } finally {
    await digests.close();
  }
}
