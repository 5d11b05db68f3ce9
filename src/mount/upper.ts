import { constants } from 'node:fs';
import { lstat, mkdir, open, readlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, fromSystemError } from '../errors';
import type { UpperFolders } from './kernel/overlay';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

/**
 * The folder of a writable mount, open from the first look to the mount: who owns it, or the folder above it, can't lead the kernel to
 * another one meanwhile. Overlayfs empties `work`, and all that is written goes to `upper`.
 */
export class WritableFolder {
  private readonly handles: FileHandle[];

  private constructor(
    /** Without symbolic links. */
    readonly path: string,
    private readonly folder: FileHandle,
  ) {
    this.handles = [folder];
  }

  /** Opens the folder, made unless it is there. */
  static async open(path: string): Promise<WritableFolder> {
    try {
      await mkdir(path, { recursive: true });
      const folder = await open(path, O_RDONLY | O_DIRECTORY);
      return new WritableFolder(await readlink(pathOf(folder)), folder);
    } catch (error) {
      throw fromSystemError(path, error);
    }
  }

  /**
   * `upper` and `work` in it, until close(). A new `upper` gets the mode and the owner of `root`: it is the root of what is seen.
   * @throws USAGE when one of them is a symbolic link, or no folder
   */
  async prepare(root: string): Promise<UpperFolders> {
    const work = await this.openPart('work', 0o700);
    const upper = await this.openPart('upper', 0o755);
    if (upper.isNew) {
      const { mode, uid, gid } = await lstat(root);
      await upper.handle.chown(uid, gid);
      await upper.handle.chmod(mode & 0o7777);
    }
    return { upper: pathOf(upper.handle), work: pathOf(work.handle) };
  }

  async close(): Promise<void> {
    for (const handle of this.handles.splice(0)) await handle.close();
  }

  private async openPart(name: string, mode: number): Promise<{ handle: FileHandle; isNew: boolean }> {
    const path = join(pathOf(this.folder), name);
    const shown = join(this.path, name);
    try {
      const isNew = await mkdir(path, { mode }).then(() => true, ifThere);
      const handle = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      this.handles.push(handle);
      return { handle, isNew };
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw fromSystemError(shown, error);
      const why = 'it is a symbolic link, or no folder';
      throw failure('USAGE', shown, why, 'the changes of a mount go to real folders');
    }
  }
}

function ifThere(error: unknown): false {
  if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
  throw error;
}

/** Of an open folder; links are followed to it and no further. */
function pathOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}
