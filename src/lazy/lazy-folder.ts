import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { failure, SeekableErofsError } from '../errors';
import { makePrivateFolder } from '../fs/private-folder';
import { cachePlacesOf, type CachePlaces } from './cache-room';

const closed = 0o700;

const isPermission = (error: unknown): boolean =>
  ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');

/**
 * What the lazy server has in a state folder: `lazy/` with its socket, its lock, the FUSE mount and the list of layers that are in use. The
 * stores of layers are kept where content is: `lazy/KEY/`, also when nothing is mounted.
 */
export class LazyFolder {
  private constructor(
    readonly folder: string,
    readonly stores: string,
  ) {}

  /** Where it is; nothing is made. */
  static at(state?: string): LazyFolder {
    const places = cachePlacesOf(state);
    return new LazyFolder(join(places.state, 'lazy'), join(places.content, 'lazy'));
  }

  /** Makes what is missing, for this user alone. @throws USAGE when others could write there, MACHINE where only root may, IO */
  static async open(state?: string): Promise<LazyFolder> {
    const opened = LazyFolder.at(state);
    try {
      await makePrivateFolder(opened.folder, closed);
      await makePrivateFolder(opened.stores, closed);
    } catch (error) {
      const isRefused = error instanceof SeekableErofsError && isPermission(error.cause);
      if (!isRefused || process.geteuid?.() === 0) throw error;
      throw failure('MACHINE', error.what, error.why, 'the lazy server needs root');
    }
    return opened;
  }

  /** For makeRoom(). */
  get cachePlaces(): CachePlaces {
    return { state: dirname(this.folder), content: dirname(this.stores) };
  }

  get socket(): string {
    return join(this.folder, 'socket');
  }

  /** Held by the keeper as long as there is one. */
  get lock(): string {
    return join(this.folder, 'lock');
  }

  /** Where the FUSE folder is mounted: one file a layer. */
  get mountPoint(): string {
    return join(this.folder, 'layers');
  }

  /** The layers in use, for a server that takes over. */
  get layers(): string {
    return join(this.folder, 'layers.json');
  }

  /** The images that `--erofs-cache` shows, kept where layers are: they outlive a restart of the machine. */
  get images(): string {
    return join(dirname(this.stores), 'images.json');
  }

  /** What the server says, where it was started by a mount. */
  get log(): string {
    return join(this.folder, 'log');
  }

  /** The file that a layer is on the FUSE mount. */
  fileOf(key: string): string {
    return join(this.mountPoint, key);
  }

  storeOf(key: string): string {
    return join(this.stores, key);
  }
}

/** Above the root's number and below 2^53, and the same for a server that takes over: the kernel knows files by it. */
export function nodeOf(key: string): number {
  const hash = createHash('sha256').update(key).digest();
  return 2 + (hash.readUIntBE(0, 6) % (2 ** 48 - 2));
}
