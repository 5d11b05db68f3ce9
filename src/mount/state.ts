import { createHash } from 'node:crypto';
import { access, lstat, mkdir, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fromSystemError } from '../errors';
import { unfinishedPrefix } from '../fs/draft';
import { acquireLock, tryPrivateLock } from '../fs/lock';
import { isPrivate, makePrivateFolder, notPrivate } from '../fs/private-folder';
import { cachePlacesOf, documentsFolder, type CachePlaces } from '../lazy/cache-room';
import type { Vouched } from '../lazy/complete-layer';
import { mountsAt, readMounts, type MountEntry } from '../fs/mountinfo';
import {
  isLayerRecord,
  isMountRecord,
  isVouched,
  readFailure,
  readObject,
  readRecord,
  writeJson,
  writeRecord,
  type LayerRecord,
  type MountRecord,
} from './state-records';
import { requireRoot } from './kernel/system-call';

/** Where the state of mounts is. */
export interface StateOptions {
  /** The folder that mountImage() was given. */
  state?: string | undefined;
}

/** What is mounted everybody may see; images and mount points are root's. */
const readable = 0o755;
const closed = 0o700;
/** Who could read a lock's file could keep it. */
const lockMode = 0o600;
const recordName = /^([0-9a-f]{64})\.json$/;

/**
 * The folder that says what is mounted. `mounts/ID.json`: a MountRecord, ID from its target. `layers/KEY/`: one layer that mounts share,
 * its record `layer.json` and its mount point `m`. Everything is changed while `lock` is held; a layer whose key no mount has is nobody's.
 * `content/KEY/` (by default elsewhere, on a disk): what was decoded for it, and whose descriptors it was checked against; that outlives the
 * last mount, until makeRoom() removes it.
 */
export class MountState {
  private constructor(
    readonly folder: string,
    readonly contentFolder: string,
    /** What open() was given. */
    readonly option: string | undefined,
  ) {}

  /** Opens the folder, and makes it. USAGE when others could write to it. */
  static async open(folder?: string): Promise<MountState> {
    const { state: path, content } = cachePlacesOf(folder);
    for (const part of [path, join(path, 'mounts')]) await makePrivateFolder(part, readable);
    for (const part of [join(path, 'layers'), content]) await makePrivateFolder(part, closed);
    return new MountState(await realpath(path), await realpath(content), folder);
  }

  /** Like open(), but null where there is none. MACHINE when there is one, and no root to change it. */
  static async openExisting(folder?: string): Promise<MountState | null> {
    const { state: path } = cachePlacesOf(folder);
    const status = await lstat(path).catch(() => null);
    if (status === null) return null;
    requireRoot(path, 'changing mounts');
    return MountState.open(folder);
  }

  /** Like openExisting(), for looking at what is mounted: changes nothing, and needs no root where the folder lets others look. */
  static async look(folder?: string): Promise<MountState | null> {
    const { state: path, content } = cachePlacesOf(folder);
    const status = await lstat(path).catch(() => null);
    if (status === null) return null;
    if (![0, process.geteuid?.()].some((owner) => isPrivate(status, owner))) throw notPrivate(path, readable);
    return new MountState(await realpath(path), content, folder);
  }

  /** What the names of a layer's dm-verity devices are made of. */
  deviceId(key: string): string {
    return idOf(`${this.folder}\0${key}`).slice(0, 40);
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
    const lock = await tryPrivateLock(path);
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

  /** What the journal has of a target; of a record that was lost (emptied, say), what is known without it. */
  async readMount(target: string): Promise<MountRecord | null> {
    const record = await readRecord<MountRecord>(this.mountFile(target), isMountRecord);
    return record === 'lost' ? this.lostRecord(target, await readMounts()) : record;
  }

  async writeMount(record: MountRecord): Promise<void> {
    await writeRecord(this.mountFile(record.target), record);
  }

  async removeMount(target: string): Promise<void> {
    await rm(this.mountFile(target), { force: true });
  }

  /** All records. Of those that were lost only what is mounted is known: others are in lostRecords(). */
  async mounts(): Promise<MountRecord[]> {
    const mounts = await readMounts();
    const targets = new Map(mounts.map(({ target }) => [idOf(target), target]));
    const found: MountRecord[] = [];
    for (const { id, record } of await this.records()) {
      const target = targets.get(id);
      if (record !== 'lost') found.push(record);
      else if (target !== undefined) found.push(this.lostRecord(target, mounts));
    }
    return found.sort((a, b) => (a.target < b.target ? -1 : 1));
  }

  /** Removes records of which nothing is known: they were lost, and nothing is mounted where they say. Returns how many. */
  async removeLostRecords(): Promise<number> {
    const targets = new Set((await readMounts()).map(({ target }) => idOf(target)));
    const lost = (await this.records()).filter(({ id, record }) => record === 'lost' && !targets.has(id));
    for (const { id } of lost) await rm(join(this.folder, 'mounts', `${id}.json`), { force: true });
    return lost.length;
  }

  /** The overlay's name in the kernel's list of mounts. */
  overlayName(target: string): string {
    return `seekable-erofs-${idOf(`${this.folder}\0${target}`).slice(0, 32)}`;
  }

  /** The keys of layers that anything is left of but whole content: a record, a mount point, content that was not finished, a lock. */
  async layerKeys(): Promise<string[]> {
    const names = await readdir(join(this.folder, 'layers'));
    for (const name of await readdir(this.contentFolder)) {
      if (!(await isThere(this.contentFile(name)))) names.push(name);
    }
    return [...new Set(names.flatMap((name) => /^([0-9a-f]{64})(\.lock)?$/.exec(name)?.[1] ?? []))];
  }

  /** Null where there is none, "lost" where it can't be read any more. */
  async readLayer(key: string): Promise<LayerRecord | 'lost' | null> {
    return readRecord<LayerRecord>(this.layerFile(key), isLayerRecord);
  }

  async writeLayer(key: string, record: LayerRecord): Promise<void> {
    await writeRecord(this.layerFile(key), record);
  }

  /** Where a layer is mounted. */
  mountPoint(key: string): string {
    return join(this.folder, 'layers', key, 'm');
  }

  isMountPoint(path: string): boolean {
    return path === this.mountPoint(basename(dirname(path)));
  }

  /** Where the decoded image of a layer lies. */
  contentFile(key: string): string {
    return join(this.contentFolder, key, 'image');
  }

  /** Whether a layer's image is there already. */
  async hasContent(key: string): Promise<boolean> {
    return isThere(this.contentFile(key));
  }

  /** Manifests and configs of images that were mounted lazily. */
  get documentsFolder(): string {
    return documentsFolder(this.cachePlaces);
  }

  /** For makeRoom(). */
  get cachePlaces(): CachePlaces {
    return { state: this.folder, content: this.contentFolder };
  }

  /** What was found when a layer's content was checked against the descriptor that `voucher` names; null when it was not. */
  async readVouched(key: string, voucher: string): Promise<Vouched | null> {
    const vouched: unknown = await readObject(this.vouchedFile(key, voucher));
    return isVouched(vouched) ? vouched : null;
  }

  async writeVouched(key: string, voucher: string, vouched: Vouched): Promise<void> {
    await writeJson(this.vouchedFile(key, voucher), vouched);
  }

  async makeLayerFolder(key: string): Promise<void> {
    await mkdir(this.mountPoint(key), { recursive: true, mode: 0o700 });
  }

  async makeContentFolder(key: string): Promise<void> {
    await mkdir(dirname(this.contentFile(key)), { recursive: true, mode: 0o700 });
  }

  /** Forgets a layer, but for its content: folders are removed only when they are empty, so never what may be mounted in one. */
  async removeLayer(key: string): Promise<void> {
    if (!(await this.hasContent(key)))
      await rm(dirname(this.contentFile(key)), { recursive: true, force: true });
    else await removeUnfinished(dirname(this.contentFile(key)));
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
      const lock = await tryPrivateLock(join(folder, name));
      await lock?.release();
    }
  }

  private async records(): Promise<{ id: string; record: MountRecord | 'lost' }[]> {
    const folder = join(this.folder, 'mounts');
    const names = await readdir(folder).catch((error: unknown) => {
      throw readFailure(folder, error);
    });
    const ids = names.flatMap((name) => recordName.exec(name)?.[1] ?? []);
    const read = ids.map(async (id) => ({
      id,
      record: await readRecord<MountRecord>(join(folder, `${id}.json`), isMountRecord),
    }));
    // One that is gone meanwhile was undone.
    return (await Promise.all(read)).flatMap(({ id, record }) => (record === null ? [] : [{ id, record }]));
  }

  /** What the kernel's list tells of a mount: of an overlay its name, of a layer alone which one it is. */
  private lostRecord(target: string, mounts: readonly MountEntry[]): MountRecord {
    const devices = mountsAt(mounts, target).map(({ device }) => device);
    const layers = mounts
      .filter((mount) => this.isMountPoint(mount.target) && devices.includes(mount.device))
      .map(({ target }) => basename(dirname(target)))
      .map((key) => ({ key, diffId: '', device: '', verity: 'none' as const }));
    const source = this.overlayName(target);
    return { target, madeTarget: false, kind: null, source, rw: null, mounted: true, layers };
  }

  private mountFile(target: string): string {
    return join(this.folder, 'mounts', `${idOf(target)}.json`);
  }

  private vouchedFile(key: string, voucher: string): string {
    return join(dirname(this.contentFile(key)), `vouched-${voucher}.json`);
  }

  private contentLock(key: string): string {
    return join(this.contentFolder, `${key}.lock`);
  }

  private layerFile(key: string): string {
    return join(this.folder, 'layers', key, 'layer.json');
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** A name made of a target's path. Exported for its test. */
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

async function withLock<T>(
  path: string,
  use: () => Promise<T>,
  options: { signal?: AbortSignal | undefined },
): Promise<T> {
  const lock = await acquireLock(path, { ...options, mode: lockMode });
  try {
    return await use();
  } finally {
    await lock.release();
  }
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
  const unfinished = names.filter((name) => name.startsWith(unfinishedPrefix));
  for (const name of unfinished) await rm(join(folder, name), { force: true });
}
