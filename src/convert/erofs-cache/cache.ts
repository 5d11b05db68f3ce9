import { mkdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failure, fromSystemError } from '../../errors';
import { parseDigest } from '../../format/digest';
import { syncFolder } from '../../fs/atomic-file';
import { makeFolder, removeIfEmpty } from '../../fs/folder';
import { lazyMountType, mountOf, readMounts } from '../../fs/mountinfo';
import type { JobOptions } from '../../job';
import { LayoutWorkspace, type DraftFolder } from '../../store/layout/workspace';
import { findEntry, placeEntry, removeMisfit, type CacheEntry } from './entry';

type Undo = () => Promise<void>;

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

  private constructor(
    private readonly path: string,
    private readonly isFolderOurs: boolean,
    private readonly workspace: LayoutWorkspace,
    private readonly drafts: DraftFolder,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Opens the cache in the folder `path`, which is made if need be. NOT_FOUND when its parent is missing, USAGE when a lazy server shows it. */
  static async open(path: string, { signal }: JobOptions): Promise<ErofsCache> {
    await refuseLazyCache(path);
    const isFolderOurs = await makeFolder(path);
    try {
      const workspace = new LayoutWorkspace(path, async (diffIds) => {
        for (const diffId of diffIds) await removeMisfit(entryPath(path, diffId));
      });
      return new ErofsCache(path, isFolderOurs, workspace, await workspace.begin(signal), signal);
    } catch (error) {
      if (isFolderOurs) await removeIfEmpty(path);
      throw error;
    }
  }

  /** The entry for a layer; null when there is none, or when `withTree` asks for a `.dmverity` file and it has none that fits it. */
  find(diffId: string, withTree: boolean): Promise<CacheEntry | null> {
    return findEntry(entryPath(this.path, diffId), withTree);
  }

  /** Makes an entry: `write` fills the file. It has no name before publish(). */
  async stage(
    diffId: string,
    write: (file: { fd: number; name: string }) => Promise<{ imageSize: number; sidecar: string | null }>,
  ): Promise<CacheEntry> {
    const file = await this.drafts.createFile();
    try {
      const written = await write({ fd: file.handle.fd, name: entryPath(this.path, diffId) });
      const { size } = await file.handle.stat();
      await file.finish(size);
      this.staged.set(diffId, { ...written, size, path: file.path });
      return { size, imageSize: written.imageSize };
    } catch (error) {
      await file.remove();
      throw error;
    }
  }

  /** Gives the staged entries of these layers their names, no other writer at the same time. When that fails, the cache is as it was. */
  async publish(diffIds: readonly string[]): Promise<void> {
    try {
      await this.workspace.locked(this.signal, () => this.publishAll([...new Set(diffIds)]));
    } catch (error) {
      throw fromSystemError(this.path, error);
    }
  }

  async close(): Promise<void> {
    await this.workspace.end(this.drafts);
  }

  async abort(): Promise<void> {
    await this.close();
    if (this.isFolderOurs) await removeIfEmpty(this.path);
  }

  private async publishAll(diffIds: readonly string[]): Promise<void> {
    const staged = diffIds.filter((diffId) => this.staged.has(diffId));
    const undo: Undo[] = [];
    try {
      if (staged.length > 0) await this.drafts.recordMoves(staged);
      for (const diffId of diffIds) await this.publishOne(diffId, undo);
      const folders = staged.map((diffId) => dirname(entryPath(this.path, diffId)));
      for (const folder of new Set(folders)) await syncFolder(folder);
    } catch (error) {
      // One that can't be undone is whole all the same, and no reason to leave the others.
      for (const undoOne of undo.reverse()) await undoOne().catch(() => undefined);
      throw error;
    }
    for (const diffId of staged) this.staged.delete(diffId);
  }

  /** Adds to `undo` what it did. */
  private async publishOne(diffId: string, undo: Undo[]): Promise<void> {
    const entry = this.staged.get(diffId);
    const path = entryPath(this.path, diffId);
    if ((await findEntry(path, entry !== undefined && entry.sidecar !== null)) !== null)
      return removeMisfit(path);
    if (entry === undefined)
      throw failure('FAILED', path, 'another program has removed it', 'convert once more');
    const folder = dirname(path);
    const made = await mkdir(folder, { recursive: true });
    if (made !== undefined) undo.push(() => removeFolders(folder, made));
    const sidecar = entry.sidecar === null ? null : await this.drafts.writeFile(Buffer.from(entry.sidecar));
    undo.push(await placeEntry(path, { image: entry.path, sidecar }, await this.backUp(path)));
  }

  /** Another name of the image at `path`; null where there is none, or the file system has no such. */
  private async backUp(path: string): Promise<string | null> {
    return (await findEntry(path, false)) === null ? null : this.drafts.link(path);
  }
}

/** What a lazy server shows fills itself, and can't be written to. */
async function refuseLazyCache(path: string): Promise<void> {
  const real = await realpath(path).catch(() => null);
  if (real === null || mountOf(await readMounts(), real)?.type !== lazyMountType) return;
  const hint = 'use another folder: containerd takes a list of them in layer_content_caches; or lazy add';
  throw failure('USAGE', path, 'a lazy server shows its layers there (serve --erofs-cache)', hint);
}

/** Removes `folder`, and the one above it where that is `made`, the first that mkdir() had to make; not what has something in it. */
async function removeFolders(folder: string, made: string): Promise<void> {
  await removeIfEmpty(folder);
  if (made !== folder) await removeIfEmpty(made);
}

/** The entry of the cache in the folder `path`, as ErofsCache.find() gives it; nothing is written, not even the folder. */
export function cachedEntry(path: string, diffId: string, withTree: boolean): Promise<CacheEntry | null> {
  return findEntry(entryPath(path, diffId), withTree);
}

function entryPath(cache: string, diffId: string): string {
  const { algorithm, hex } = parseDigest(diffId);
  return join(cache, algorithm, hex.slice(0, 2), `${hex}.erofs`);
}
