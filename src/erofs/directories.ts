import type { DataReader } from './data';
import { Directory } from './directory';
import { corrupt, isInMetabox, unsupported, type Inode } from './inode';
import { LruMap, type LruSpace } from './lru-map';

/** About ten million entries. */
const maxDirectory = 256 << 20; // bytes
/** Of what is read at once of a directory that is larger, and isn't kept: whole blocks, which have at most 64 KiB. */
const pieceSize = 1 << 20; // bytes
/** Up to here, a directory is read as a whole, not only the blocks that a binary search touches. */
const smallDirectory = 64 << 10;

/** Loads directories of one image, and finds names in them. */
export class Directories {
  private readonly cache: LruMap<bigint, Directory>;

  constructor(
    private readonly data: DataReader,
    private readonly blockSize: number,
    private readonly imageSize: number,
    space: LruSpace,
  ) {
    this.cache = new LruMap(space);
  }

  /** All of a directory. CORRUPT as Directory.parse(), and when it is larger than the image allows. */
  async load(inode: Inode): Promise<Directory> {
    const known = this.cache.get(inode.nid);
    if (known !== undefined) return known;
    this.checkSize(inode);
    const directory = this.parse(inode, await this.data.read(inode, 0, inode.size));
    this.cache.set(inode.nid, directory, inode.size + 16 * directory.count + 256);
    return directory;
  }

  /**
   * All of a directory, in parts that are in order. A large one is not kept in memory: it is read a second time, when it was found to be in
   * order. CORRUPT as load().
   */
  async *parts(inode: Inode): AsyncGenerator<Directory, void, undefined> {
    if (inode.size > pieceSize && (await this.isInOrder(inode))) {
      for await (const part of this.pieces(inode)) if (part.count > 0) yield part;
      return;
    }
    const directory = await this.load(inode);
    if (directory.count > 0) yield directory;
  }

  /**
   * The inode number behind a name, or undefined. In a large directory by binary search over its blocks; names that are out of order are
   * found as well, since a listing shows them.
   */
  async lookup(inode: Inode, name: Uint8Array): Promise<bigint | undefined> {
    const found = inode.size > smallDirectory ? await this.search(inode, name) : undefined;
    if (found !== undefined) return found;
    const directory = await this.load(inode);
    const index = directory.find(name);
    return index === undefined ? undefined : directory.nid(index);
  }

  /**
   * How many bytes a directory may have: as many as the image, if its bytes lie there as they are. Compression, the metabox's too, helps
   * names by far less than 64 to 1.
   */
  sizeLimit({ layout, nid }: Inode): number {
    const asItIs = (layout === 'plain' || layout === 'inline') && !isInMetabox(nid);
    return asItIs ? this.imageSize : 64 * this.imageSize;
  }

  private async isInOrder(inode: Inode): Promise<boolean> {
    this.checkSize(inode);
    let last: Buffer | undefined;
    for await (const part of this.pieces(inode)) {
      if (part.count === 0) continue;
      if (last !== undefined && Buffer.compare(last, part.name(0)) >= 0) return false;
      last = part.name(part.count - 1);
    }
    return true;
  }

  /** Parts that are in order by themselves. */
  private async *pieces(inode: Inode): AsyncGenerator<Directory, void, undefined> {
    for (let start = 0; start < inode.size; start += pieceSize) {
      const length = Math.min(pieceSize, inode.size - start);
      yield this.parse(inode, await this.data.read(inode, start, length));
    }
  }

  private async search(inode: Inode, name: Uint8Array): Promise<bigint | undefined> {
    this.checkSize(inode);
    let [low, high] = [0, Math.ceil(inode.size / this.blockSize)];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const start = middle * this.blockSize;
      const length = Math.min(this.blockSize, inode.size - start);
      const block = this.parse(inode, await this.data.read(inode, start, length));
      const index = block.find(name);
      if (index !== undefined) return block.nid(index);
      // A block of "." and ".." alone tells nothing: left to the search through everything.
      if (block.count === 0) return undefined;
      if (Buffer.compare(name, block.name(0)) < 0) high = middle;
      else low = middle + 1;
    }
    return undefined;
  }

  private parse(inode: Inode, bytes: Buffer): Directory {
    return Directory.parse(bytes, this.blockSize, (why) => corrupt(inode.area.name, inode.nid, why));
  }

  private checkSize(inode: Inode): void {
    const { area, nid, size } = inode;
    if (size > this.sizeLimit(inode)) {
      throw corrupt(area.name, nid, `a directory of ${size} bytes in an image of ${this.imageSize}`);
    }
    if (size > maxDirectory) {
      throw unsupported(area.name, nid, `a directory of ${size} bytes; the largest read is ${maxDirectory}`);
    }
  }
}
