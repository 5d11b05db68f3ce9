import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SeekableErofsError, fromSystemError } from '../../errors';
import { acquireLock, type Lock } from '../../fs/lock';
import { native } from '../../native/binding';
import { readMounts } from '../../fs/mountinfo';
import type { MountState } from '../state';
import { call } from '../kernel/system-call';

const flag = { noSuid: 2, noDev: 4 } as const;
const detach = 2;
const namePrefix = 'seekable-erofs-';

/**
 * All that one container has on this machine: a tmpfs `containers/ID` of the state folder, with the bundle's config.json, the mounted image
 * `rootfs`, what is written to it in `rw`, and what the runtime notes in `runtime`. `containers/ID.lock` is locked while its owner lives.
 */
export class ContainerFolder {
  private constructor(
    readonly id: string,
    readonly path: string,
    private readonly lock: Lock,
  ) {}

  static async create(state: MountState): Promise<ContainerFolder> {
    const parent = join(state.folder, 'containers');
    const id = `${namePrefix}${randomBytes(6).toString('hex')}`;
    const path = join(parent, id);
    await mkdir(parent, { recursive: true, mode: 0o700 });
    const folder = new ContainerFolder(id, path, await acquireLock(`${path}.lock`));
    try {
      await folder.fill();
      return folder;
    } catch (error) {
      await folder.remove();
      throw fromSystemError(path, error);
    }
  }

  /** The folders of containers whose owner is dead, locked for whoever clears them away. */
  static async abandoned(state: MountState): Promise<ContainerFolder[]> {
    const parent = join(state.folder, 'containers');
    const names = await readdir(parent).catch(() => []);
    const ids = new Set(
      names.map((name) => name.replace(/\.lock$/, '')).filter((id) => id.startsWith(namePrefix)),
    );
    const folders: ContainerFolder[] = [];
    for (const id of ids) {
      const lock = await tryLock(join(parent, `${id}.lock`));
      if (lock !== null) folders.push(new ContainerFolder(id, join(parent, id), lock));
    }
    return folders;
  }

  get config(): string {
    return join(this.path, 'config.json');
  }

  /** What the runtime has to say. */
  get log(): string {
    return join(this.path, 'log');
  }

  /** There once the container's program runs. */
  get pid(): string {
    return join(this.path, 'pid');
  }

  get rootfs(): string {
    return join(this.path, 'rootfs');
  }

  get rw(): string {
    return join(this.path, 'rw');
  }

  get runtime(): string {
    return join(this.path, 'runtime');
  }

  /** Unmounts the tmpfs and removes the folder. The image must be unmounted before. */
  async remove(): Promise<void> {
    try {
      const isMounted = (await readMounts()).some(({ target }) => target === this.path);
      if (isMounted)
        call(this.path, () => {
          native.sys.unmount(this.path, detach);
        });
      await rmdir(this.path).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(this.path, error);
      });
    } finally {
      await this.lock.release();
    }
  }

  private async fill(): Promise<void> {
    await mkdir(this.path, { mode: 0o700 });
    const mount = { source: 'tmpfs', target: this.path, type: 'tmpfs', data: 'mode=0700' };
    call(this.path, () => {
      native.sys.mount({ ...mount, flags: flag.noSuid | flag.noDev });
    });
    for (const folder of [this.rootfs, this.rw, this.runtime]) await mkdir(folder, { mode: 0o700 });
  }
}

/** Null when another process holds the lock. */
async function tryLock(path: string): Promise<Lock | null> {
  return acquireLock(path, { timeout: 0 }).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'FAILED') return null;
    throw error;
  });
}
