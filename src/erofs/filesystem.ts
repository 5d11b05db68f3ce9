import { Readable } from 'node:stream';
import { failure } from '../errors';
import { escapePath } from '../format/escaped-path';
import type { ByteSource } from '../source/byte-source';
import type { PlacedExtent, Segment } from './data';
import type { ErofsInode, FileType, Inode } from './inode';
import type { DirectoryCursor } from './directory-cursor';
import { ErofsTree } from './erofs-tree';
import { checkOptions } from '../options';
import { openErofsImage, type OpenErofsOptions, type OpenedErofsImage } from './open';
import type { DirectoryPart } from './tree';
import { lookUp, type FoundNode } from './tree-lookup';
import { walkTree } from './tree-walk';
import type { Xattr } from './xattr';

const streamPiece = 1 << 20; // bytes
const defaultMaxSize = 1 << 30; // bytes

/** A path from the root (a string is UTF-8, bytes are taken as they are), or an inode of the same image. */
export type ErofsPath = string | Uint8Array | ErofsInode;

/** A name in a directory. */
export interface DirectoryEntry {
  name: Buffer;
  inode: ErofsInode;
}

/** What a walk comes across. */
export interface WalkEntry {
  /** From the root, e.g. `/usr/bin`. */
  path: Buffer;
  inode: ErofsInode;
}

/** What an image says about itself as a whole. */
export interface ErofsInfo {
  /** Bytes. */
  blockSize: number;
  /** As the superblock says; nothing vouches for it. */
  inodes: bigint;
  blocks: number;
  /** 16 bytes. */
  uuid: Buffer;
  volumeName: Buffer;
  /** Seconds since 1970 from which compact inodes count. */
  epoch: bigint;
  externalDevices: number;
}

/**
 * Opens an EROFS image (docs/format/erofs.md) for reading, without mounting it. `source` and the devices stay the caller's, and open as
 * long as the file system is used. CORRUPT when it is no image or its superblock's checksum does not fit, UNSUPPORTED for unknown
 * features, USAGE when the number of devices is not the image's.
 */
export async function openErofs(
  source: ByteSource,
  options: OpenErofsOptions = {},
): Promise<ErofsFilesystem> {
  checkOptions('openErofs', options);
  return new ErofsFilesystem(await openErofsImage(source, options));
}

/**
 * A read-only file system in an image. Nothing in the image is trusted: all calls reject with CORRUPT or UNSUPPORTED when it breaks the
 * format, with NOT_FOUND when a path does not exist, with FAILED when it is of the wrong type. Symlinks, "..", and absolute targets stay
 * inside of the image.
 */
export class ErofsFilesystem {
  readonly info: ErofsInfo;
  private readonly image: OpenedErofsImage;
  private readonly tree: ErofsTree;

  /** @internal Use openErofs(). */
  constructor(image: OpenedErofsImage) {
    this.image = image;
    this.tree = new ErofsTree(image);
    const { blockSize, inodes, blocks, uuid, volumeName, epoch, extraDevices } = image.superblock;
    const end = volumeName.indexOf(0);
    this.info = {
      blockSize,
      inodes,
      blocks,
      uuid,
      epoch,
      externalDevices: extraDevices,
      volumeName: end < 0 ? volumeName : volumeName.subarray(0, end),
    };
  }

  /** The inode behind a path; a symlink is followed. */
  async stat(path: ErofsPath): Promise<ErofsInode> {
    return this.inodeAt(path, true);
  }

  /** The inode at a path, which may be a symlink. */
  async lstat(path: ErofsPath): Promise<ErofsInode> {
    return this.inodeAt(path, false);
  }

  /** The path without symlinks and dots at which `path` ends up; the last component's symlink is followed. */
  async realpath(path: string | Uint8Array): Promise<Buffer> {
    return Buffer.from((await this.find(path, true)).path, 'latin1');
  }

  /** A directory's entries by the bytes of their names, without "." and "..". */
  async readdir(path: ErofsPath): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    const cursor = await this.openDirectory(path);
    while (!cursor.atEnd) {
      const name = Buffer.from(cursor.name());
      entries.push({ name, inode: await cursor.inode() });
      const read = cursor.skip();
      if (read !== undefined) await read;
    }
    return entries;
  }

  /** @internal As readdir(), entry by entry: a directory of millions takes no more memory than one of thousands. */
  async openDirectory(path: ErofsPath): Promise<DirectoryCursor> {
    return this.tree.openDirectory(await this.inodeOf(path, ['dir']));
  }

  /** The inode behind a name in a directory, undefined if there is none: large directories are not read as a whole for a name that they have. */
  async lookup(directory: ErofsPath, name: Uint8Array): Promise<ErofsInode | undefined> {
    return this.tree.lookup(await this.inodeOf(directory, ['dir']), name);
  }

  /** What a symlink holds. */
  async readlink(path: ErofsPath): Promise<Buffer> {
    return this.tree.readlink(await this.inodeOf(path, ['symlink'], false));
  }

  /** A whole file. UNSUPPORTED when it is longer than `maxSize` bytes (default: 1 GiB). */
  async readFile(path: ErofsPath, options: { maxSize?: number | undefined } = {}): Promise<Buffer> {
    const { maxSize = defaultMaxSize } = options;
    const inode = await this.inodeOf(path, ['file']);
    if (inode.size > maxSize) {
      const why = `a file of ${inode.size} bytes, and at most ${maxSize} were to be read`;
      throw failure('UNSUPPORTED', this.named(path), why, 'read it as a stream');
    }
    return this.image.data.read(inode, 0, inode.size);
  }

  /** `length` bytes of a file from `offset`, fewer where it ends. */
  async read(path: ErofsPath, offset: number, length: number): Promise<Buffer> {
    const inode = await this.inodeOf(path, ['file']);
    const start = Math.min(offset, inode.size);
    return this.image.data.read(inode, start, Math.min(length, inode.size - start));
  }

  /** A file's bytes from `start` to `end` (inclusive, as Node has it) or to its end. */
  createReadStream(
    path: ErofsPath,
    range: { start?: number | undefined; end?: number | undefined } = {},
  ): Readable {
    return Readable.from(this.pieces(path, range.start ?? 0, range.end), {
      objectMode: false,
      highWaterMark: streamPiece,
    });
  }

  /** The data and the holes of a file, in order, without gaps. */
  async *segments(path: ErofsPath): AsyncGenerator<Segment, void, undefined> {
    yield* this.image.data.segments(await this.inodeOf(path, ['file']));
  }

  /** Where the data of a file lies, in order, without its holes: for whoever copies it by other means than read(). */
  async extents(path: ErofsPath): Promise<Iterable<PlacedExtent> | AsyncIterable<PlacedExtent>> {
    return this.image.data.extents(await this.inodeOf(path, ['file']));
  }

  /** The same of a file's inode, at once: for whoever has many. USAGE when it is of another image, FAILED when it is no file's. */
  extentsOf(inode: ErofsInode): Iterable<PlacedExtent> | AsyncIterable<PlacedExtent> {
    return this.image.data.extents(this.checked(this.owned(inode), ['file'], inode));
  }

  /** Extended attributes by the bytes of their names; a symlink's own, not its target's. */
  async xattrs(path: ErofsPath): Promise<Xattr[]> {
    return this.image.xattrs.read(await this.inodeAt(path, false));
  }

  /**
   * `path` and everything below it, in the order of the whole paths' bytes; symlinks are not followed. Hard links are entries of equal
   * `nid`. CORRUPT for loops.
   */
  async *walk(path: string | Uint8Array = '/'): AsyncGenerator<WalkEntry, void, undefined> {
    const start = await this.find(path, false);
    for await (const entry of walkTree(this.tree, start, { signal: this.image.signal })) {
      yield { path: Buffer.from(entry.path, 'latin1'), inode: entry.node };
    }
  }

  /** @internal The inode of a number that another one of this image had. */
  async inode(nid: bigint): Promise<ErofsInode> {
    return this.image.inodes.get(nid);
  }

  /** @internal How a directory counts when trees of images are walked. */
  directoryPart(directory: ErofsInode): DirectoryPart {
    return this.tree.directoryParts(this.owned(directory))[0];
  }

  private async *pieces(path: ErofsPath, start: number, end: number | undefined): AsyncGenerator<Buffer> {
    const inode = await this.inodeOf(path, ['file']);
    const stop = Math.min(inode.size, end === undefined ? Infinity : end + 1);
    for (let offset = start; offset < stop;) {
      // Pieces begin at multiples of their size, so that the clusters of compressed files are decoded once.
      const length = Math.min(streamPiece - (offset % streamPiece), stop - offset);
      yield await this.image.data.read(inode, offset, length);
      offset += length;
    }
  }

  private find(path: string | Uint8Array, follow: boolean): Promise<FoundNode<Inode>> {
    const bytes = typeof path === 'string' ? Buffer.from(path) : path;
    return lookUp(this.tree, bytes, follow, `${this.image.name}: ${escapePath(bytes)}`);
  }

  private async inodeAt(path: ErofsPath, follow: boolean): Promise<Inode> {
    const isPath = typeof path === 'string' || path instanceof Uint8Array;
    return isPath ? (await this.find(path, follow)).node : this.owned(path);
  }

  private owned(inode: ErofsInode): Inode {
    if (this.image.inodes.owns(inode)) return inode;
    throw failure('USAGE', this.named(inode), 'it is of another image');
  }

  private async inodeOf(path: ErofsPath, types: FileType[], follow = true): Promise<Inode> {
    return this.checked(await this.inodeAt(path, follow), types, path);
  }

  private checked(inode: Inode, types: FileType[], path: ErofsPath): Inode {
    if (types.includes(inode.type)) return inode;
    throw failure('FAILED', this.named(path), `it is a ${inode.type}, not a ${types.join(' or ')}`);
  }

  private named(path: ErofsPath): string {
    if (typeof path === 'string') return path;
    return path instanceof Uint8Array
      ? Buffer.from(path).toString()
      : `${this.image.name}: inode ${path.nid}`;
  }
}
