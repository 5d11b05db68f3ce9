import type { ByteSource } from '../source/byte-source';
import { checkRange } from '../source/range';
import { BlockSpace } from './block-space';
import type { CompressedContext, CompressionAlgorithms } from './compressed/context';
import { readCompressionConfig } from './compression-config';
import { DataReader } from './data';
import { Directories } from './directories';
import { corrupt, InodeTable, isInMetabox, type Inode } from './inode';
import { LruSpace } from './lru-map';
import { MetadataArea } from './metadata-area';
import { readSuperblock, type Superblock } from './superblock';
import { readLongPrefixes, XattrReader } from './xattr';

/** How an image is opened. */
export interface OpenErofsOptions {
  /** External devices, in the image's order. Without them, they must be part of the image. */
  devices?: readonly ByteSource[] | undefined;
  /** Aborting it ends all reads with CANCELLED. */
  signal?: AbortSignal | undefined;
}

/** Where what was read of metadata is kept: by one image, or by several together. */
export class MetadataCaches {
  /** Bytes of the image, in windows. */
  readonly windows = new LruSpace(16 << 20);
  /** Directories, parsed. */
  readonly directories = new LruSpace(8 << 20);
}

/** The readers of one image, wired up. */
export interface OpenedErofsImage {
  name: string;
  imageSize: number;
  signal: AbortSignal | undefined;
  superblock: Superblock;
  inodes: InodeTable;
  data: DataReader;
  directories: Directories;
  xattrs: XattrReader;
  root: Inode;
}

/** Reads what an image says about itself. Errors as readSuperblock(), and CORRUPT when its root is no directory. */
export async function openErofsImage(
  source: ByteSource,
  options: OpenErofsOptions,
  caches = new MetadataCaches(),
): Promise<OpenedErofsImage> {
  const { signal, devices = [] } = options;
  const superblock = await readSuperblock(source, signal);
  const { blockSize, extraDevices } = superblock;
  const main = mainArea(source, caches, signal);
  const space = await BlockSpace.open(source, superblock, devices, signal);
  const special = new SpecialInodes(
    superblock,
    main,
    space,
    await readCompressionConfig(main, superblock),
    caches.windows,
    signal,
  );
  const data = new DataReader(
    { blockSize, extraDevices },
    space,
    main,
    (inode) => special.context(inode),
    signal,
  );
  await special.connect(data);
  const root = await readRoot(special.inodes, superblock, source.name);
  return {
    name: source.name,
    imageSize: source.size,
    signal,
    superblock,
    data,
    root,
    inodes: special.inodes,
    directories: new Directories(data, blockSize, source.size, caches.directories),
    xattrs: await special.xattrs(),
  };
}

/** The image itself, as what holds metadata. */
function mainArea(
  source: ByteSource,
  { windows }: MetadataCaches,
  signal: AbortSignal | undefined,
): MetadataArea {
  const load = (offset: number, length: number): Promise<Buffer> => source.read(offset, length, signal);
  return new MetadataArea(source.name, source.size, load, windows);
}

async function readRoot(inodes: InodeTable, { rootNid }: Superblock, name: string): Promise<Inode> {
  const root = await inodes.get(rootNid);
  if (root.type === 'dir') return root;
  throw corrupt(name, root.nid, `the root is a ${root.type}, not a directory`);
}

/**
 * The special inodes: the metabox, whose data holds inodes, and the packed one, whose data holds fragments of compressed files. Both are
 * read like files, by the readers that depend on them; here it is seen to that neither needs itself.
 */
class SpecialInodes {
  inodes: InodeTable;
  private data: DataReader | undefined;
  private metabox: MetadataArea | undefined;
  private packed: Inode | undefined;

  constructor(
    private readonly superblock: Superblock,
    private readonly main: MetadataArea,
    private readonly space: BlockSpace,
    private readonly algorithms: CompressionAlgorithms,
    private readonly windows: LruSpace,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.inodes = new InodeTable(superblock, main);
  }

  async connect(data: DataReader): Promise<void> {
    this.data = data;
    const { metaboxNid, packedNid } = this.superblock;
    if (metaboxNid !== undefined) {
      const inode = await this.special(metaboxNid, 'metabox');
      const load = (offset: number, length: number): Promise<Buffer> => data.read(inode, offset, length);
      this.metabox = new MetadataArea(`${this.main.name} (metabox)`, inode.size, load, this.windows);
      this.inodes = new InodeTable(this.superblock, this.main, this.metabox);
    }
    if (packedNid !== undefined) this.packed = await this.special(packedNid, 'packed');
  }

  /** What reading a compressed inode needs. */
  context(inode: Inode): CompressedContext {
    const { blockSize, has48Bit, lz4ZeroPadding } = this.superblock;
    return {
      name: this.main.name,
      blockSize,
      has48Bit,
      lz4ZeroPadding,
      algorithms: this.algorithms,
      readMetadata: (offset, length) => inode.area.read(offset, length),
      readData: async (offset, length) => {
        const place = this.space.locate(0, offset, length);
        return place.source.read(place.offset, length, this.signal);
      },
      readFragment: (offset, length) => this.readFragment(inode, offset, length),
    };
  }

  async xattrs(): Promise<XattrReader> {
    const { xattrPrefixes, sharedXattrsInMetabox, sharedXattrBlock, blockSize } = this.superblock;
    const area = (sharedXattrsInMetabox ? this.metabox : undefined) ?? this.main;
    const { name } = this.main;
    const prefixes = await readLongPrefixes(name, xattrPrefixes, (offset, length) => {
      if (xattrPrefixes.plain) return this.main.read(offset, length);
      if (this.metabox !== undefined) return this.metabox.read(offset, length);
      return this.packed === undefined
        ? this.main.read(offset, length)
        : this.readPacked(this.packed, offset, length);
    });
    return new XattrReader({ area, start: sharedXattrBlock * blockSize }, prefixes);
  }

  private async special(nid: bigint, what: string): Promise<Inode> {
    const inode = await this.inodes.get(nid);
    if (inode.type !== 'file') throw corrupt(this.main.name, nid, `the ${what} inode is a ${inode.type}`);
    return inode;
  }

  private async readFragment(reader: Inode, offset: number, length: number): Promise<Buffer> {
    const { packed, superblock } = this;
    if (packed === undefined)
      throw corrupt(this.main.name, reader.nid, 'a fragment, but there is no packed inode');
    const needed =
      reader.nid === packed.nid || (reader.nid === superblock.metaboxNid && isInMetabox(packed.nid));
    if (needed) throw corrupt(this.main.name, reader.nid, 'its fragment lies within itself');
    return this.readPacked(packed, offset, length);
  }

  private async readPacked(packed: Inode, offset: number, length: number): Promise<Buffer> {
    checkRange({ name: `${this.main.name} (packed inode)`, size: packed.size }, offset, length);
    return this.data!.read(packed, offset, length);
  }
}
