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

/** A blob as the cache has it. */
interface CachedBlob {
  /** Of its index, where that is a layer of its own. */
  indexPayload: Uint8Array | null;
  /** NOT checked against its digest. */
  blob: FileSource;
}

/** A layer as the cache has it; close() it. */
export interface CachedLayer extends CachedBlob {
  layer: LayerRecord;
  /** Of a device that was made with it; null where there is none, or the source has it. */
  device: CachedBlob | null;
  close(): Promise<void>;
}

/** Names of the files of an entry. */
const layerFiles = { blob: 'blob', index: 'index' };
const deviceFiles = { blob: 'device', index: 'device-index' };

/**
 * A folder of layers converted before: `vN/xx/KEY/` has `layer.json`, the `blob`, and the `index` where that is a layer of its own; `device` and
 * `device-index` where a device was made. KEY is of all that the bytes depend on. Entries appear whole by a rename, so that many runs may use
 * one folder; its owner is trusted as far as `layer.json` goes, and blobs are checked by their digests.
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
      return await openEntry(entry);
    } catch (error) {
      const { code } = fromSystemError(entry, error);
      if (code !== 'IO') await this.remove(key);
      return null;
    }
  }

  /** Adds a layer; of an entry that is there already nothing changes. */
  async add(key: string, { layer, device, ...made }: NewCacheEntry): Promise<void> {
    const folder = await this.drafts.createFolder();
    try {
      await addBlob(folder, made, layerFiles);
      if (device != null) await addBlob(folder, device, deviceFiles);
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

/** A blob that is added to a cache; `fd` is of all of it. */
interface NewCachedBlob {
  fd: number;
  indexPayload: Uint8Array | null;
}

/** What is added to a cache. */
interface NewCacheEntry extends NewCachedBlob {
  layer: LayerRecord;
  /** A device that was made with the layer. */
  device?: NewCachedBlob | null;
}

async function openEntry(entry: string): Promise<CachedLayer> {
  const layer = await readRecord(join(entry, 'layer.json'));
  const made = await openBlob(entry, layer, layerFiles);
  const close = (): Promise<void> => made.blob.close();
  // A device without an index is the source's tar itself.
  if (layer.device?.index == null) return { ...made, layer, device: null, close };
  try {
    const device = await openBlob(entry, layer.device, deviceFiles);
    const closeBoth = async (): Promise<void> => {
      await device.blob.close();
      await close();
    };
    return { ...made, layer, device, close: closeBoth };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openBlob(
  entry: string,
  { index }: Pick<LayerRecord, 'index'>,
  files: typeof layerFiles,
): Promise<CachedBlob> {
  const indexPayload = index == null ? null : await readFile(join(entry, files.index));
  return { indexPayload, blob: await openFileSource(join(entry, files.blob)) };
}

async function addBlob(
  folder: string,
  { fd, indexPayload }: NewCachedBlob,
  files: typeof layerFiles,
): Promise<void> {
  const blob = join(folder, files.blob);
  // A file system that can gives the copy the same blocks.
  await copyFile(`/proc/self/fd/${fd}`, blob, constants.COPYFILE_FICLONE);
  await sync(blob);
  if (indexPayload !== null) await writeSynced(join(folder, files.index), indexPayload);
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
