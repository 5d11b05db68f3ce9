import { createHash } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { failure, fromSystemError } from '../errors';
import type { CachePlaces } from './cache-room';

/** Where what is mounted is recorded. */
const defaultStateFolder = '/run/seekable-erofs';
/** Where layers are kept: one may be larger than the memory that /run is. */
const defaultContentFolder = '/var/lib/seekable-erofs';

const othersWrite = 0o022;

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
    const content = state === undefined ? defaultContentFolder : join(state, 'content');
    return new LazyFolder(join(resolve(state ?? defaultStateFolder), 'lazy'), join(resolve(content), 'lazy'));
  }

  /** Makes what is missing, for this user alone. @throws USAGE when others could write there, IO */
  static async open(state?: string): Promise<LazyFolder> {
    const opened = LazyFolder.at(state);
    await makePrivate(opened.folder);
    await makePrivate(opened.stores);
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
