import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { fromSystemError } from '../errors';
import { unfinishedPrefix } from '../fs/draft';

/** How large a cache gets, and who is told when it can't be written. */
interface FrameCacheOptions {
  /** Bytes of frames that are kept; default: 4 GiB. Several processes at once may exceed it for a moment. */
  maxBytes?: number | undefined;
  onWarning?: ((line: string) => void) | undefined;
}

const algorithms = ['sha256', 'sha512'] as const;
const defaultMaxBytes = 4 * 1024 ** 3;
/** Making room removes some more than must be, so that not every frame makes room anew. */
const share = 0.9;
const unfinishedAge = 3_600_000;

/**
 * Frames in a folder, each in a file named after its checksum: `sha512/ab/abcd…`. Whoever may write there can't make a reader take wrong
 * bytes: a frame is compared with its name whenever it is read. The least recently used go first. Failures to write cost the cache, never
 * the read.
 */
export class FrameCache {
  private readonly maxBytes: number;
  private readonly onWarning: ((line: string) => void) | undefined;
  /** Null before the first frame is added, and again when the folder must be looked at anew. */
  private usedBytes: number | null = null;
  private isBroken = false;
  private trimming: Promise<void> = Promise.resolve();

  private constructor(
    private readonly folder: string,
    { maxBytes = defaultMaxBytes, onWarning }: FrameCacheOptions,
  ) {
    this.maxBytes = maxBytes;
    this.onWarning = onWarning;
  }

  /** Creates the folder if need be; IO when it can't be. */
  static async open(folder: string, options: FrameCacheOptions = {}): Promise<FrameCache> {
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw fromSystemError(folder, error);
    });
    return new FrameCache(folder, options);
  }

  /** The frame of `size` bytes with this checksum (SHA-256 or SHA-512, by its length); null when it is not here, or was damaged. */
  async get(checksum: Uint8Array, size: number): Promise<Buffer | null> {
    const path = this.pathOf(checksum);
    const bytes = await readIfSized(path, size);
    if (bytes === null) return null;
    const actual = createHash(algorithmOf(checksum)).update(bytes).digest();
    if (actual.equals(checksum)) return bytes;
    await rm(path, { force: true }).catch(() => undefined); // put() replaces it anyway
    return null;
  }

  /** Adds a frame that was verified. */
  async put(checksum: Uint8Array, frame: Uint8Array): Promise<void> {
    if (this.isBroken || frame.length > this.maxBytes) return;
    try {
      await writeBeside(this.pathOf(checksum), frame);
      this.trimming = this.trimming.then(() => this.account(frame.length));
      await this.trimming;
    } catch (error) {
      this.isBroken = true;
      this.trimming = Promise.resolve();
      const { message } = fromSystemError(this.folder, error);
      this.onWarning?.(`${message}; no more frames are cached there`);
    }
  }

  private pathOf(checksum: Uint8Array): string {
    const hex = Buffer.from(checksum).toString('hex');
    return join(this.folder, algorithmOf(checksum), hex.slice(0, 2), hex);
  }

  private async account(added: number): Promise<void> {
    if (this.usedBytes !== null) this.usedBytes += added;
    if (this.usedBytes !== null && this.usedBytes <= this.maxBytes) return;
    const files = await listFrames(this.folder);
    this.usedBytes = files.reduce((total, { size }) => total + size, 0);
    if (this.usedBytes <= this.maxBytes) return;
    files.sort((a, b) => a.usedAt - b.usedAt);
    for (const { path, size } of files) {
      if (this.usedBytes <= this.maxBytes * share) break;
      await rm(path, { force: true });
      this.usedBytes -= size;
    }
  }
}

function algorithmOf(checksum: Uint8Array): 'sha256' | 'sha512' {
  return checksum.length === 32 ? 'sha256' : 'sha512';
}

/** A file whole, and marked as used just now; null when it is not there or not of this size. */
async function readIfSized(path: string, size: number): Promise<Buffer | null> {
  try {
    // Without O_NONBLOCK, a FIFO of that name would wait for a writer.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if ((await handle.stat()).size !== size) return null;
      const now = new Date();
      await handle.utimes(now, now).catch(() => undefined); // somebody else's cache, shared read-only
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}

/** Not synced: what a crash of the machine leaves half-written does not have the checksum of its name. */
async function writeBeside(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
  try {
    await writeFile(temporary, bytes, { flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

interface CachedFile {
  path: string;
  size: number;
  /** Milliseconds. */
  usedAt: number;
}

/** All frames of a cache; removes what a crash left. Files that are no frames are none of our business. */
async function listFrames(root: string): Promise<CachedFile[]> {
  const frames: CachedFile[] = [];
  for (const algorithm of algorithms) {
    const names = await readdir(join(root, algorithm), { recursive: true }).catch(() => []);
    for (const name of names) {
      const base = name.slice(3);
      const isUnfinished = base.startsWith(unfinishedPrefix);
      if (!isUnfinished && !/^([0-9a-f]{2})\/\1[0-9a-f]{62,126}$/.test(name)) continue;
      const path = join(root, algorithm, name);
      const status = await stat(path).catch(() => null); // removed by another process
      if (status === null) continue;
      if (!isUnfinished) frames.push({ path, size: status.size, usedAt: status.mtimeMs });
      else if (Date.now() - status.mtimeMs > unfinishedAge) await rm(path, { force: true });
    }
  }
  return frames;
}
