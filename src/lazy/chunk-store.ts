import { fdatasync } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromSystemError } from '../errors';
import { syncFolder } from '../fs/atomic-file';
import { writeFully } from '../fs/write-fully';

/** Names in a store's folder. */
const dataName = 'data';
const bitmapName = 'present';

/**
 * The chunks of one layer that are here: a sparse file with each chunk at its place, and a bitmap. A bit is written only after the data
 * that it speaks for was synced, so a crash costs chunks and never serves wrong ones. One process writes at a time: the lazy server.
 */
export class ChunkStore {
  /** Chunks in the file, synced or not. */
  readonly present: Uint8Array;
  /** Chunks in the file whose bit is not on disk yet. */
  private unsynced: number[] = [];
  private syncing: Promise<void> = Promise.resolve();
  /** How many chunks are here, and the bytes of them. */
  count = 0;
  bytes = 0;

  private constructor(
    readonly folder: string,
    private readonly data: FileHandle,
    private readonly bitmap: FileHandle,
    private readonly starts: Float64Array,
    bits: Uint8Array,
  ) {
    this.present = bits;
    for (let chunk = 0; chunk < this.chunks; chunk++) if (this.has(chunk)) this.add(chunk);
  }

  /**
   * Opens the store in `folder`, which must be there, and makes what it lacks. Chunk i is the bytes [starts[i], starts[i + 1]) of the layer's
   * file. Files of other lengths are of another layer: they are made anew.
   * @throws IO, NO_SPACE
   */
  static async open(folder: string, starts: Float64Array): Promise<ChunkStore> {
    const size = starts.at(-1)!;
    const bits = new Uint8Array(Math.ceil((starts.length - 1) / 8));
    const sizes = { data: size, bitmap: bits.length };
    try {
      const kept = await openKept(folder, sizes);
      if (kept !== null) await kept.bitmap.read(bits, 0, bits.length, 0);
      const { data, bitmap } = kept ?? (await makeAnew(folder, sizes));
      return new ChunkStore(folder, data, bitmap, starts, bits);
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

  /** For native code that reads from it. It stays this store's. */
  get fd(): number {
    return this.data.fd;
  }

  /** Where the layer's bytes are. */
  get path(): string {
    return join(this.folder, dataName);
  }

  has(chunk: number): boolean {
    return (this.present[chunk >> 3]! & (1 << (chunk & 7))) !== 0;
  }

  /** Puts a verified chunk at its place; its bit follows with the next sync(). NO_SPACE leaves the chunk absent. */
  async write(chunk: number, bytes: Uint8Array): Promise<void> {
    if (this.has(chunk)) return;
    try {
      await writeFully(this.data.fd, bytes, this.starts[chunk]!);
    } catch (error) {
      throw fromSystemError(this.path, error);
    }
    if (this.has(chunk)) return;
    this.present[chunk >> 3]! |= 1 << (chunk & 7);
    this.add(chunk);
    this.unsynced.push(chunk);
  }

  /** Makes what was written last: data first, then the bits that speak for it. Calls take turns; what one failed to sync is the next one's. */
  async sync(): Promise<void> {
    this.syncing = this.syncing.catch(() => undefined).then(() => this.syncOnce());
    return this.syncing;
  }

  /** Forgets all chunks. No other name of the data's file may be in use, and no chunk be written meanwhile. */
  async clear(): Promise<void> {
    await this.sync();
    this.present.fill(0);
    this.count = this.bytes = 0;
    try {
      await writeFully(this.bitmap.fd, this.present, 0);
      await promisify(fdatasync)(this.bitmap.fd);
      await this.data.truncate(0);
      await this.data.truncate(this.starts.at(-1));
    } catch (error) {
      throw fromSystemError(this.folder, error);
    }
  }

  /** Syncs, and lets go of the files. */
  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      await this.data.close();
      await this.bitmap.close();
    }
  }

  private async syncOnce(): Promise<void> {
    const chunks = this.unsynced;
    if (chunks.length === 0) return;
    this.unsynced = [];
    try {
      await promisify(fdatasync)(this.data.fd);
      for (const [at, byte] of this.bytesOfBits(chunks)) await writeFully(this.bitmap.fd, byte, at);
      await promisify(fdatasync)(this.bitmap.fd);
    } catch (error) {
      this.unsynced.push(...chunks);
      throw fromSystemError(this.folder, error);
    }
  }

  /** Bytes of the bitmap with the bits of synced chunks alone: a neighbour's bit waits for the neighbour's data. */
  private bytesOfBits(chunks: readonly number[]): Map<number, Uint8Array> {
    const bytes = new Map<number, Uint8Array>();
    const waiting = new Set(this.unsynced);
    for (const at of new Set(chunks.map((chunk) => chunk >> 3))) {
      let byte = this.present[at]!;
      for (let bit = 0; bit < 8; bit++) if (waiting.has(at * 8 + bit)) byte &= ~(1 << bit);
      bytes.set(at, Uint8Array.of(byte));
    }
    return bytes;
  }

  private add(chunk: number): void {
    this.count++;
    this.bytes += this.starts[chunk + 1]! - this.starts[chunk]!;
  }
}

interface Files {
  data: FileHandle;
  bitmap: FileHandle;
}

/** Null unless both files are there, with these sizes. */
async function openKept(folder: string, sizes: Record<keyof Files, number>): Promise<Files | null> {
  const opened: Partial<Files> = {};
  for (const [name, path] of [
    ['data', dataName],
    ['bitmap', bitmapName],
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
 * New files in the place of what is there: that is not emptied, since it may have another name as a decoded layer. The bitmap goes first and
 * comes last: bits must never outlive their data.
 */
async function makeAnew(folder: string, sizes: Record<keyof Files, number>): Promise<Files> {
  for (const name of [bitmapName, dataName])
    if (await removeFile(join(folder, name))) await syncFolder(folder);
  const data = await makeFile(join(folder, dataName), sizes.data);
  try {
    return { data, bitmap: await makeFile(join(folder, bitmapName), sizes.bitmap) };
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

/** Not synced: until a bit is, what a crash leaves of new files is nothing, shorter than it should be, or without bits. */
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
