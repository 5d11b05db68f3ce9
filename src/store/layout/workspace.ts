import { randomBytes } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, fromSystemError, SeekableErofsError } from '../../errors';
import { isDigest } from '../../format/digest';
import { syncFolder } from '../../fs/atomic-file';
import { removeIfEmpty } from '../../fs/folder';
import { acquireLock, type Lock } from '../../fs/lock';
import { native } from '../../native/binding';
import { openFileSource } from '../../source/file';

/** The hidden folder of a layout (or a cache) that its writers work in; on the layout's file system, so that drafts can be renamed out of it. */
export const workspaceName = '.seekable-erofs';

/** The file system, or its policy, has no second names for this file. */
const noLinkCodes = new Set(['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'EXDEV', 'ENOSYS']);

/** More blobs than images have. */
const maxMovesSize = 16 << 20;

/** In one of these cases nobody can say which blobs of a layout are in use, and all of them stay. */
const unclear = new Set<string>(['CORRUPT', 'MISMATCH', 'UNSUPPORTED', 'USAGE']);

const draftFolderPattern = /^drafts-[0-9a-f]{16}$/;

/** A draft being written; the first of finish() and remove() ends it. */
interface DraftFile {
  readonly handle: FileHandle;
  readonly path: string;
  /** MISMATCH when its size is not `size`. */
  check(size: number): void;
  /** Syncs and closes it. MISMATCH when its size is not `size`; it is removed then. */
  finish(size: number): Promise<void>;
  remove(): Promise<void>;
}

/**
 * The writers' folder of one layout: `lock`, and for each writer a folder of drafts with a lock of its own, held as long
 * as the writer lives. Drafts whose lock nobody holds were left by a killed writer.
 */
export class LayoutWorkspace {
  private readonly folder: string;
  /** It was looked at, and our drafts are in it. */
  private isThere = false;

  /** @param removeMoved removes blobs that a killed writer was moving to their places, but for those that are in use. */
  constructor(
    layout: string,
    private readonly removeMoved: (digests: string[]) => Promise<void>,
  ) {
    this.folder = join(layout, workspaceName);
  }

  /** Runs `action` while no other writer of the layout runs one. */
  async locked<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    const lock = await this.acquire(signal);
    try {
      return await action();
    } finally {
      // Without its name it lets go all the same, and nothing is to hide what the action came to.
      await lock.release().catch(() => undefined);
    }
  }

  /** Begins a folder of drafts, and removes what killed writers left. */
  async begin(signal: AbortSignal | undefined): Promise<DraftFolder> {
    try {
      return await this.locked(signal, async () => {
        await this.removeStale();
        const path = join(this.folder, `drafts-${randomBytes(8).toString('hex')}`);
        await mkdir(path);
        const lock = await acquireLock(join(path, 'lock')).catch(async (error: unknown) => {
          await removeIfEmpty(path).catch(() => undefined);
          throw error;
        });
        this.isThere = true;
        return new DraftFolder(path, lock);
      });
    } catch (error) {
      await this.removeIfEmpty().catch(() => undefined);
      throw fromSystemError(this.folder, error);
    }
  }

  /** Removes a writer's drafts, and the whole workspace when no other writer is there. */
  async end(drafts: DraftFolder): Promise<void> {
    // Where no inodes are left, these are the ones that the lock needs.
    await drafts.empty();
    // Under the lock, lest another writer takes a folder that is half removed for one that was left behind. Where there can't be one, it
    // is better removed than left.
    const lock = await this.acquire(undefined).catch(() => null);
    try {
      await drafts.remove();
    } finally {
      await lock?.release().catch(() => undefined);
    }
    await this.removeIfEmpty();
  }

  private async acquire(signal: AbortSignal | undefined): Promise<Lock> {
    for (;;) {
      if (!this.isThere) await this.makeOwnFolder();
      try {
        return await acquireLock(join(this.folder, 'lock'), { signal });
      } catch (error) {
        // Another writer's end() removed the folder before our lock was in it.
        this.isThere = false;
        if (!(error instanceof SeekableErofsError) || error.code !== 'NOT_FOUND') throw error;
      }
    }
  }

  private async makeOwnFolder(): Promise<void> {
    try {
      await mkdir(this.folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystemError(this.folder, error);
    }
    const status = await lstat(this.folder).catch(() => undefined);
    // A layout from elsewhere may have a link here, to a folder in which we would then remove things.
    if (status?.isDirectory() === false) throw failure('USAGE', this.folder, 'it is no folder', 'remove it');
  }

  private async removeStale(): Promise<void> {
    const entries = await readdir(this.folder, { withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isDirectory() || !draftFolderPattern.test(entry.name)) continue;
      const path = join(this.folder, entry.name);
      const lock = await tryLock(join(path, 'lock'));
      if (lock === undefined) continue;
      const drafts = new DraftFolder(path, lock);
      try {
        const moves = await drafts.readMoves();
        if (moves.length > 0) await this.removeMoved(moves);
      } catch (error) {
        if (!(error instanceof SeekableErofsError) || !unclear.has(error.code)) throw error;
      } finally {
        await drafts.remove();
      }
    }
  }

  private async removeIfEmpty(): Promise<void> {
    await removeIfEmpty(this.folder);
  }
}

/** One writer's drafts. */
export class DraftFolder {
  private count = 0;
  private readonly unfinished = new Set<DraftFile>();

  constructor(
    private readonly path: string,
    private readonly lock: Lock,
  ) {}

  /** A new, empty file. */
  async createFile(): Promise<DraftFile> {
    const path = join(this.path, String(this.count++));
    const handle = await open(path, 'wx+').catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
    const remove = async (): Promise<void> => {
      if (!this.unfinished.delete(file)) return;
      await handle.close();
      await rm(path, { force: true });
    };
    const check = (size: number): void => {
      const written = fstatSync(handle.fd).size;
      if (written !== size) throw failure('MISMATCH', path, `${written} bytes were written, not ${size}`);
    };
    const finish = async (size: number): Promise<void> => {
      try {
        check(size);
        await handle.sync();
      } catch (error) {
        await remove();
        throw fromSystemError(path, error);
      }
      this.unfinished.delete(file);
      await handle.close();
    };
    const file = { handle, path, check, finish, remove };
    this.unfinished.add(file);
    return file;
  }

  /** A new file with this content, synced. Returns its path. */
  async writeFile(bytes: Uint8Array): Promise<string> {
    const path = join(this.path, String(this.count++));
    await native.files.writeFile(path, bytes).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
    return path;
  }

  /** A new, empty folder. Returns its path. */
  async createFolder(): Promise<string> {
    const path = join(this.path, String(this.count++));
    await mkdir(path).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
    return path;
  }

  /** Another name of the file at `path`; null on a file system without such. NOT_FOUND when it is gone. */
  async link(path: string): Promise<string | null> {
    const name = join(this.path, String(this.count++));
    try {
      await link(path, name);
      return name;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== undefined && noLinkCodes.has(code)) return null;
      throw fromSystemError(path, error);
    }
  }

  /** Says, for whoever cleans up after a kill, which blobs are about to be moved out of here. */
  async recordMoves(digests: string[]): Promise<void> {
    const path = await this.writeFile(Buffer.from(digests.join('\n')));
    try {
      await rename(path, this.movesPath);
      await syncFolder(this.path);
    } catch (error) {
      throw fromSystemError(path, error);
    }
  }

  async forgetMoves(): Promise<void> {
    await unlink(this.movesPath).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(this.movesPath, error);
    });
  }

  /** What recordMoves() said, and forgetMoves() did not take back. */
  async readMoves(): Promise<string[]> {
    const file = await openFileSource(this.movesPath).catch((error: unknown) => {
      if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
      throw error;
    });
    if (file === null) return [];
    try {
      const text = await file.read(0, Math.min(file.size, maxMovesSize));
      return text.toString('latin1').split('\n').filter(isDigest);
    } finally {
      await file.close();
    }
  }

  private get movesPath(): string {
    return join(this.path, 'moves');
  }

  /** Removes all drafts; the folder stays, and stays ours. */
  async empty(): Promise<void> {
    try {
      for (const file of this.unfinished) await file.remove();
      const names = await readdir(this.path);
      for (const name of names) {
        if (name !== 'lock') await rm(join(this.path, name), { recursive: true, force: true });
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(this.path, error);
    }
  }

  /** Removes all of it, unfinished files too. */
  async remove(): Promise<void> {
    try {
      await this.empty();
    } finally {
      await this.lock.release(); // which removes the last file
    }
    await removeIfEmpty(this.path);
  }
}

/** The lock if nobody holds it. */
async function tryLock(path: string): Promise<Lock | undefined> {
  try {
    return await acquireLock(path, { timeout: 0 });
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'FAILED') return undefined;
    throw error;
  }
}
