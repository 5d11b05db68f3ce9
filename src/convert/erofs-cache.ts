import { mkdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Mutex } from 'async-mutex';
import { fromSystemError } from '../errors';
import { parseDigest } from '../format/digest';
import { maxSidecarSize, parseDmveritySidecar } from '../format/dmverity-sidecar';
import { syncFolder } from '../fs/atomic-file';
import { makeFolder, removeIfEmpty } from '../fs/folder';
import type { JobOptions } from '../job';
import { openFileSource } from '../source/file';
import { LayoutWorkspace, type DraftFolder } from '../store/layout-workspace';

/** An entry of the cache. */
export interface CacheEntry {
  /** Bytes of the file. */
  size: number;
  /** Of the EROFS image in it; with dm-verity padded to a block. */
  imageSize: number;
}

/** An entry that is complete, but has no name yet. */
interface StagedEntry extends CacheEntry {
  path: string;
  /** Content of the `.dmverity` file; null without. */
  sidecar: string | null;
}

/**
 * containerd's layer content cache, as of version 2.4: raw EROFS images, `DIR/sha256/xx/HEX.erofs` by the DiffID of the layer that
 * each was made of, with a `.dmverity` file beside it. containerd takes an image when it is there, so it gets its name last. Entries that
 * are there stay as they are; one without a tree, where a tree is asked for, gives its name to a new file, and containers that run from the
 * old one keep it.
 */
export class ErofsCache {
  private readonly staged = new Map<string, StagedEntry>();
  private readonly publishing = new Mutex();

  private constructor(
    private readonly path: string,
    private readonly isFolderOurs: boolean,
    private readonly workspace: LayoutWorkspace,
    private readonly drafts: DraftFolder,
  ) {}

  /** Opens the cache in the folder `path`, which is made if need be. NOT_FOUND when its parent is missing. */
  static async open(path: string, { signal }: JobOptions): Promise<ErofsCache> {
    const isFolderOurs = await makeFolder(path);
    try {
      const workspace = new LayoutWorkspace(path, async () => undefined);
      return new ErofsCache(path, isFolderOurs, workspace, await workspace.begin(signal));
    } catch (error) {
      if (isFolderOurs) await removeIfEmpty(path);
      throw error;
    }
  }

  /** The entry for a layer; null when there is none, or when `withTree` asks for a `.dmverity` file and it has none that makes sense. */
  async find(diffId: string, withTree: boolean): Promise<CacheEntry | null> {
    const path = this.entryPath(diffId);
    try {
      const status = await stat(path);
      if (!status.isFile()) return null;
      const hashOffset = await readHashOffset(`${path}.dmverity`, status.size);
      if (withTree && hashOffset === null) return null;
      return { size: status.size, imageSize: hashOffset ?? status.size };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw fromSystemError(path, error);
    }
  }

  /** Makes an entry: `write` fills the file. It has no name before publish(). */
  async stage(
    diffId: string,
    write: (file: { fd: number; name: string }) => Promise<{ imageSize: number; sidecar: string | null }>,
  ): Promise<CacheEntry> {
    const file = await this.drafts.createFile();
    try {
      const written = await write({ fd: file.handle.fd, name: this.entryPath(diffId) });
      const { size } = await file.handle.stat();
      await file.finish(size);
      this.staged.set(diffId, { ...written, size, path: file.path });
      return { size, imageSize: written.imageSize };
    } catch (error) {
      await file.remove();
      throw error;
    }
  }

  /** Gives the staged entries of these layers their names. When that fails, none is left. */
  async publish(diffIds: readonly string[]): Promise<void> {
    await this.publishing.runExclusive(async () => {
      const done: string[] = [];
      try {
        for (const diffId of new Set(diffIds)) done.push(...(await this.publishOne(diffId)));
      } catch (error) {
        for (const path of done.reverse()) await unlink(path);
        throw fromSystemError(this.path, error);
      }
    });
  }

  async close(): Promise<void> {
    await this.workspace.end(this.drafts);
  }

  async abort(): Promise<void> {
    await this.close();
    if (this.isFolderOurs) await removeIfEmpty(this.path);
  }

  private async publishOne(diffId: string): Promise<string[]> {
    const entry = this.staged.get(diffId);
    this.staged.delete(diffId);
    if (entry === undefined || (await this.find(diffId, entry.sidecar !== null)) !== null) return [];
    const path = this.entryPath(diffId);
    const folder = join(path, '..');
    await mkdir(folder, { recursive: true });
    const done: string[] = [];
    if (entry.sidecar !== null) {
      await rename(await this.drafts.writeFile(Buffer.from(entry.sidecar)), `${path}.dmverity`);
      done.push(`${path}.dmverity`);
    }
    await rename(entry.path, path);
    await syncFolder(folder);
    return [...done, path];
  }

  private entryPath(diffId: string): string {
    const { algorithm, hex } = parseDigest(diffId);
    return join(this.path, algorithm, hex.slice(0, 2), `${hex}.erofs`);
  }
}

/** Where the tree begins in an image of `size` bytes; null without a sidecar that fits it. */
async function readHashOffset(path: string, size: number): Promise<number | null> {
  try {
    const file = await openFileSource(path);
    try {
      const text = await file.read(0, Math.min(file.size, maxSidecarSize));
      const { hashOffset } = parseDmveritySidecar(text.toString(), path);
      return hashOffset < size ? hashOffset : null;
    } finally {
      await file.close();
    }
  } catch {
    return null;
  }
}
