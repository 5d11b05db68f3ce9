import { crc32c } from '../../src/erofs/crc32c';
import { openErofs, type ErofsFilesystem } from '../../src/erofs/filesystem';
import type { ErofsInode } from '../../src/erofs/inode';
import { openErofsImage } from '../../src/erofs/open';
import { ErofsTree } from '../../src/erofs/erofs-tree';
import { walkTree } from '../../src/erofs/tree-walk';
import { MemorySource } from '../support/memory-source';
import { attempt, type Target } from './case';
import { mergeRanges, mutate, type Range } from './mutate';
import type { Random } from './random';

const superblock = { start: 1024, end: 1024 + 160 };
/** Files with huge holes are legal: what is read of one, and of one image. */
const maxOfFile = 1 << 20; // bytes
const maxOfImage = 4 << 20;
const maxEntries = 1000;

/** An EROFS image that is damaged and then taken apart by the reader. */
export class ImageTarget implements Target {
  private constructor(
    readonly name: string,
    private readonly image: Buffer,
    private readonly devices: Buffer[],
    private readonly hot: Range[],
    private readonly paths: Buffer[],
  ) {}

  static async create(name: string, image: Buffer, devices: Buffer[] = []): Promise<ImageTarget> {
    const opened = await openErofsImage(new MemorySource(image), {
      devices: devices.map((bytes) => new MemorySource(bytes)),
    });
    const ranges: Range[] = [];
    const paths: Buffer[] = [];
    const start = { path: '/', node: opened.root };
    for await (const { path, node: inode } of walkTree(new ErofsTree(opened), start)) {
      paths.push(Buffer.from(path, 'latin1'));
      // Inodes of a metabox are compressed; theirs lie elsewhere.
      if (inode.area.size === image.length)
        ranges.push({ start: inode.xattrStart - 64, end: inode.bodyEnd + 64 });
      if (inode.type !== 'dir') continue;
      for await (const { address, length, source } of opened.data.extents(inode)) {
        if (source !== null) ranges.push({ start: address, end: address + length });
      }
    }
    return new ImageTarget(name, image, devices, mergeRanges(ranges, image.length), paths);
  }

  files(random: Random | null): { image: Buffer } {
    if (random === null) return { image: this.image };
    // The superblock is small, but decides about everything.
    const hot = random.chance(0.25) ? [superblock] : this.hot;
    return { image: fixChecksum(random, mutate(random, this.image, hot)) };
  }

  async run({ image }: { image: Buffer }, random: Random): Promise<void> {
    const devices = this.devices.map((bytes) => new MemorySource(bytes));
    const open = () => openErofs(new MemorySource(image), { devices });
    // A superblock with another number of devices does not go with those given.
    const filesystem = await attempt(open, devices.length > 0 ? ['USAGE'] : []);
    if (filesystem !== undefined) await new Reader(filesystem, random).readAll(this.paths);
  }
}

/** Lets mutations get past the checksum of the superblock: without one, or with the right one; now and then with a wrong one. */
function fixChecksum(random: Random, image: Buffer): Buffer {
  if (image.length < superblock.end || random.chance(0.1)) return image;
  if (random.chance(0.5)) {
    image[superblock.start + 8]! &= ~1;
    return image;
  }
  const blockSize = 2 ** Math.min(12, image[superblock.start + 12]!);
  const end = blockSize > superblock.start ? blockSize : superblock.start + blockSize;
  image.writeUInt32LE(0, superblock.start + 4);
  image.writeUInt32LE(crc32c(image.subarray(superblock.start, end)), superblock.start + 4);
  return image;
}

/** Does with an image whatever can be done with one. */
class Reader {
  private budget = maxOfImage;

  constructor(
    private readonly filesystem: ErofsFilesystem,
    private readonly random: Random,
  ) {}

  async readAll(knownPaths: readonly Buffer[]): Promise<void> {
    const { filesystem, random } = this;
    const whole = await attempt(async () => {
      let entries = 0;
      for await (const { path, inode } of filesystem.walk()) {
        if (++entries > maxEntries) break;
        await this.readInode(inode);
        if (random.chance(0.05)) await this.inodeAt(path);
      }
      return true;
    });
    if (whole === true) return;
    // One bad directory ends the walk; the others may hold something too.
    for (let count = 0; count < 20; count++) {
      const inode = await this.inodeAt(random.pick(knownPaths));
      if (inode !== undefined) await this.readInode(inode);
    }
  }

  private async inodeAt(path: Buffer): Promise<ErofsInode | undefined> {
    // Symbolic links may lead anywhere.
    await attempt(() => this.filesystem.stat(path));
    await attempt(() => this.filesystem.realpath(path));
    return attempt(() => this.filesystem.lstat(path));
  }

  private async readInode(inode: ErofsInode): Promise<void> {
    const { filesystem } = this;
    if (inode.hasXattrs) await attempt(() => filesystem.xattrs(inode));
    if (inode.type === 'symlink') await attempt(() => filesystem.readlink(inode));
    if (inode.type === 'dir') await attempt(() => filesystem.readdir(inode));
    if (inode.type !== 'file') return;
    await attempt(async () => {
      let count = 0;
      for await (const segment of filesystem.segments(inode)) {
        if (segment.length <= 0) throw new Error('an empty segment');
        if (++count === 100) break;
      }
    });
    await this.readFile(inode);
  }

  private async readFile(inode: ErofsInode): Promise<void> {
    const { filesystem, random } = this;
    const start = random.chance(0.5) ? 0 : random.below(inode.size);
    const length = Math.min(inode.size - start, maxOfFile, this.budget);
    if (length === 0) return;
    const bytes = await attempt(() => filesystem.read(inode, start, length));
    if (bytes !== undefined && bytes.length !== length) throw new Error(`${bytes.length} of ${length} bytes`);
    // A failed read costs time as well.
    this.budget -= bytes === undefined ? Math.min(length, 64 << 10) : length;
  }
}
