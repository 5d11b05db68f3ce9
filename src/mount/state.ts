import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs';
import { lstat, mkdir, readFile, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { SeekableErofsError, failure, fromSystemError } from '../errors';
import { writeAtomically } from '../fs/atomic-file';
import { unfinishedPrefix } from '../fs/draft';
import { acquireLock, type Lock } from '../fs/lock';
import type { LayerRecord } from './layer-record';
import { requireRoot } from './system-call';

/** Who checks a mounted layer's blocks: the kernel as they are read, this program before it was mounted, or nobody but its digest. */
export type VerityMode = 'kernel' | 'userspace' | 'none';

/** One layer of a mount. */
export interface MountedLayer {
  diffId: string;
  /** What the kernel reads: a `/dev/dm-N`, a `/dev/loopN`, or a file. */
  device: string;
  verity: VerityMode;
}

/** What the journal has of one mount: written before anything of it is done, so that it can be undone from there. */
export interface MountRecord {
  /** Absolute, without symbolic links. */
  target: string;
  /** The folder at `target` was made for it. */
  madeTarget: boolean;
  kind: 'erofs' | 'overlay';
  /** The overlay's name in the kernel's list of mounts. */
  source: string;
  /** Of a writable overlay: the folder with `upper` and `work`. */
  rw: string | null;
  mounted: boolean;
  /** In the image's order; `key` names a layer of this state folder. */
  layers: (MountedLayer & { key: string })[];
}

const defaultFolder = '/run/seekable-erofs';
/** A layer may be larger than the memory that /run is. */
const defaultContent = '/var/lib/seekable-erofs';
const othersWrite = 0o022;

/**
 * The folder that says what is mounted. `mounts/ID.json`: a MountRecord, ID from its target. `layers/KEY/`: one layer that mounts share,
 * its record `layer.json` and its mount point `m`. `content/KEY/` (by default elsewhere, on a disk): what was decoded for it. Everything is
 * changed while `lock` is held; a layer whose key no mount has is nobody's.
 */
export class MountState {
  private constructor(
    readonly folder: string,
    private readonly contentFolder: string,
  ) {}

  /** Opens the folder, and makes it. USAGE when others could write to it. */
  static async open(folder?: string): Promise<MountState> {
    const content = folder === undefined ? defaultContent : join(folder, 'content');
    const path = resolve(folder ?? defaultFolder);
    for (const part of [path, join(path, 'mounts'), join(path, 'layers'), resolve(content)]) {
      await makePrivate(part);
    }
    return new MountState(await realpath(path), await realpath(content));
  }

  /** Like open(), but null where there is none. MACHINE when there is one, and no root to look into it. */
  static async openExisting(folder?: string): Promise<MountState | null> {
    const path = resolve(folder ?? defaultFolder);
    const status = await lstat(path).catch(() => null);
    if (status === null) return null;
    requireRoot(path);
    return MountState.open(folder);
  }

  /** Runs `use` while no other process changes anything here. */
  async locked<T>(use: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withLock(join(this.folder, 'lock'), use, { signal });
  }

  /** Runs `use` while no other process mounts or unmounts at `target`; null when one does, unless `wait`. */
  async lockedTarget<T>(
    target: string,
    use: () => Promise<T>,
    { signal, wait = true }: { signal?: AbortSignal | undefined; wait?: boolean } = {},
  ): Promise<T | null> {
    const path = join(this.folder, 'mounts', `${idOf(target)}.lock`);
    if (wait) return withLock(path, use, { signal });
    const lock = await tryLock(path);
    if (lock === null) return null;
    try {
      return await use();
    } finally {
      await lock.release();
    }
  }

  /** Runs `use` while no other process makes the content of a layer. */
  async lockedContent<T>(key: string, use: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withLock(this.contentLock(key), use, { signal });
  }

  async readMount(target: string): Promise<MountRecord | null> {
    return readJson<MountRecord>(this.mountFile(target));
  }

  async writeMount(record: MountRecord): Promise<void> {
    await writeJson(this.mountFile(record.target), record);
  }

  async removeMount(target: string): Promise<void> {
    await rm(this.mountFile(target), { force: true });
  }

  async mounts(): Promise<MountRecord[]> {
    const folder = join(this.folder, 'mounts');
    const names = (await readdir(folder)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
    const records = await Promise.all(names.map((name) => readJson<MountRecord>(join(folder, name))));
    return records.filter((record) => record !== null).sort((a, b) => (a.target < b.target ? -1 : 1));
  }

  /** The keys of layers that anything is left of: a record, a mount point, content, a lock. */
  async layerKeys(): Promise<string[]> {
    const names = [...(await readdir(join(this.folder, 'layers'))), ...(await readdir(this.contentFolder))];
    return [...new Set(names.flatMap((name) => /^([0-9a-f]{64})(\.lock)?$/.exec(name)?.[1] ?? []))];
  }

  async readLayer(key: string): Promise<LayerRecord | null> {
    return readJson<LayerRecord>(this.layerFile(key));
  }

  async writeLayer(key: string, record: LayerRecord): Promise<void> {
    await writeJson(this.layerFile(key), record);
  }

  /** Where a layer is mounted. */
  mountPoint(key: string): string {
    return join(this.folder, 'layers', key, 'm');
  }

  /** Where the decoded image of a layer lies. */
  contentFile(key: string): string {
    return join(this.contentFolder, key, 'image');
  }

  async makeLayerFolder(key: string): Promise<void> {
    await mkdir(this.mountPoint(key), { recursive: true, mode: 0o700 });
  }

  async makeContentFolder(key: string): Promise<void> {
    await mkdir(dirname(this.contentFile(key)), { recursive: true, mode: 0o700 });
  }

  /** Forgets a layer: folders are removed only when they are empty, so never what may be mounted in one. */
  async removeLayer(key: string): Promise<void> {
    await rm(dirname(this.contentFile(key)), { recursive: true, force: true });
    await rm(this.contentLock(key), { force: true }); // a killed process left it: who needs it has a record
    const mountPoint = this.mountPoint(key);
    await removeFolder(mountPoint);
    await removeUnfinished(dirname(mountPoint));
    await rm(this.layerFile(key), { force: true });
    await removeFolder(dirname(mountPoint));
  }

  /** Removes what processes that were killed left of records, and locks that nobody holds. */
  async removeUnfinished(): Promise<void> {
    const folder = join(this.folder, 'mounts');
    await removeUnfinished(folder);
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.lock')) continue;
      const lock = await tryLock(join(folder, name));
      await lock?.release();
    }
  }

  private mountFile(target: string): string {
    return join(this.folder, 'mounts', `${idOf(target)}.json`);
  }

  private contentLock(key: string): string {
    return join(this.contentFolder, `${key}.lock`);
  }

  private layerFile(key: string): string {
    return join(this.folder, 'layers', key, 'layer.json');
  }
}

/** A name made of a target's path. */
export function idOf(target: string): string {
  return createHash('sha256').update(target).digest('hex');
}

/** A target's absolute path without symbolic links; its last part need not exist, or be readable. */
export async function resolveTarget(target: string): Promise<string> {
  const path = resolve(target);
  const inParent = () => realpath(dirname(path)).then((parent) => join(parent, basename(path)));
  return realpath(path)
    .catch(inParent)
    .catch(() => path);
}

async function makePrivate(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const status = await lstat(folder);
    const isOurs = status.isDirectory() && status.uid === process.geteuid?.();
    if (isOurs && (status.mode & othersWrite) === 0) return;
  } catch (error) {
    throw fromSystemError(folder, error);
  }
  throw failure('USAGE', folder, 'others could change what is mounted there', 'a folder of root, mode 0700');
}

async function withLock<T>(
  path: string,
  use: () => Promise<T>,
  options: { signal?: AbortSignal | undefined },
): Promise<T> {
  const lock = await acquireLock(path, options);
  try {
    return await use();
  } finally {
    await lock.release();
  }
}

/** Null while another process holds it. */
async function tryLock(path: string): Promise<Lock | null> {
  return acquireLock(path, { timeout: 0 }).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'FAILED') return null;
    throw error;
  });
}

async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error instanceof SyntaxError
      ? failure('CORRUPT', path, 'is no JSON', 'it was written by something else: remove it')
      : fromSystemError(path, error);
  }
}

async function writeJson(path: string, value: object): Promise<void> {
  await writeAtomically(path, async ({ fd }) => promisify(writeFile)(fd, `${JSON.stringify(value)}\n`));
}

/** Leaves a folder that something is in, or mounted on. */
export async function removeFolder(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY', 'EEXIST'].includes(code)) throw fromSystemError(folder, error);
  });
}

async function removeUnfinished(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((name) => name.startsWith(unfinishedPrefix))) {
    await rm(join(folder, name), { force: true });
  }
}
