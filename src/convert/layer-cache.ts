import { constants } from 'node:fs';
import { copyFile, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, fromSystemError } from '../errors';
import { serializeJson } from '../format/json';
import { syncFolder } from '../fs/atomic-file';
import { checkFileName } from '../fs/file-name';
import type { JobOptions } from '../job';
import { parseJsonObject } from '../oci/json';
import { openFileSource, type FileSource } from '../source/file';
import { LayoutWorkspace, type DraftFolder } from '../store/layout/workspace';
import { layerName, layerVersion, parseLayerRecord, recordOf, type LayerRecord } from './layer-record';

const maxRecordSize = 4 << 20;

/** A layer as the cache has it. */
interface CachedLayer {
  layer: LayerRecord;
  /** Of `layer.index`. */
  indexPayload: Uint8Array | null;
  /** The blob, NOT checked against its digest; close it. */
  blob: FileSource;
}

/**
 * A folder of layers converted before: `vN/xx/KEY/` has `layer.json`, the `blob`, and the `index` where that is a layer of its own. KEY is of
 * all that the bytes depend on. Entries appear whole by a rename, so that many runs may use one folder; its owner is trusted as far as
 * `layer.json` goes, and blobs are checked by their digests.
 */
export class LayerCache {
  private constructor(
    private readonly path: string,
    private readonly workspace: LayoutWorkspace,
    private readonly drafts: DraftFolder,
  ) {}

  /** Opens the cache in the folder `path`, which is made if need be. NOT_FOUND when its parent is missing. */
  static async open(path: string, { signal }: JobOptions = {}): Promise<LayerCache> {
    checkFileName(path);
    await mkdir(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystemError(path, error);
    });
    const workspace = new LayoutWorkspace(path, async () => undefined);
    return new LayerCache(path, workspace, await workspace.begin(signal));
  }

  /** The layer of this key; null when there is none. An entry that makes no sense, or lacks a part, is removed. */
  async find(key: string): Promise<CachedLayer | null> {
    const entry = this.entryPath(key);
    try {
      const record = await readRecord(join(entry, 'layer.json'));
      const indexPayload = record.index == null ? null : await readFile(join(entry, 'index'));
      return { layer: record, indexPayload, blob: await openFileSource(join(entry, 'blob')) };
    } catch (error) {
      const { code } = fromSystemError(entry, error);
      if (code !== 'IO') await this.remove(key);
      return null;
    }
  }

  /** Adds a layer; of an entry that is there already nothing changes. `fd` is of its whole blob. */
  async add(key: string, { fd, layer, indexPayload }: NewCacheEntry): Promise<void> {
    const folder = await this.drafts.createFolder();
    try {
      const blob = join(folder, 'blob');
      // A file system that can gives the copy the same blocks.
      await copyFile(`/proc/self/fd/${fd}`, blob, constants.COPYFILE_FICLONE);
      await sync(blob);
      if (indexPayload !== null) await writeSynced(join(folder, 'index'), indexPayload);
      await writeSynced(join(folder, 'layer.json'), serializeJson(recordOf(layer), folder));
      await syncFolder(folder);
      const entry = this.entryPath(key);
      await mkdir(join(entry, '..'), { recursive: true });
      await rename(folder, entry);
      await syncFolder(join(entry, '..'));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw fromSystemError(this.path, error);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Removes what is there for a key. */
  async remove(key: string): Promise<void> {
    const entry = this.entryPath(key);
    try {
      // Out of the way at once: a removal that takes its time, or is killed, would leave half an entry.
      await rename(entry, join(await this.drafts.createFolder(), 'removed'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(entry, error);
    }
  }

  async close(): Promise<void> {
    await this.workspace.end(this.drafts);
  }

  /** The same: what was added is whole. */
  async abort(): Promise<void> {
    await this.close();
  }

  private entryPath(key: string): string {
    return entryPath(this.path, key);
  }
}

function entryPath(cache: string, key: string): string {
  const name = layerName(key);
  return join(cache, `v${layerVersion}`, name.slice(0, 2), name);
}

/** What the cache in the folder `path` says of a layer; null when it has none. Nothing is written, not even the folder. */
export async function cachedRecord(path: string, key: string): Promise<LayerRecord | null> {
  return readRecord(join(entryPath(path, key), 'layer.json')).catch(() => null);
}

/** What is added to a cache. */
export interface NewCacheEntry {
  fd: number;
  layer: LayerRecord;
  indexPayload: Uint8Array | null;
}

async function readRecord(path: string): Promise<LayerRecord> {
  const file = await openFileSource(path);
  try {
    if (file.size > maxRecordSize) throw failure('CORRUPT', path, `${file.size} bytes`);
    return parseLayerRecord(parseJsonObject(await file.read(0, file.size), path), path);
  } finally {
    await file.close();
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes);
  await sync(path);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
