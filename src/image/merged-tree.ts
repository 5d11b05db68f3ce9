import type { PlacedExtent } from '../erofs/data';
import type { DirectoryCursor } from '../erofs/directory-cursor';
import type { ErofsFilesystem } from '../erofs/filesystem';
import type { ErofsInode, FileType } from '../erofs/inode';
import type { DirectoryPart, EntryReader, NamedNode, Tree } from '../erofs/tree';
import { walkTree } from '../erofs/tree-walk';
import type { Xattr } from '../erofs/xattr';
import { failure } from '../errors';
import {
  directoryMarks,
  hasWhiteoutXattr,
  isWhiteoutDevice,
  mayBeXattrWhiteout,
  visibleXattrs,
} from './overlay-rules';
import { dataOf, followRedirects, type DataPart, type LayerStack, type Part, type Place } from './redirects';

export type { Part };

/** A layer that is read. */
export interface OpenLayer {
  /** What errors call it. */
  name: string;
  filesystem: ErofsFilesystem;
}

/** A file, directory … of a tree. */
export interface MergedNode {
  readonly type: FileType;
  /** What `stat` says of it: the topmost layer's. */
  readonly inode: ErofsInode;
  /** Inode number: unique in the tree, equal for hard links. */
  readonly ino: number;
  /** The layers that have it, from the top; more than one only of a directory. */
  readonly parts: readonly Part[];
  /** Of a file with xattrs in an overlay: where it was found, by which its data is. */
  readonly place?: Place;
}

/** A promise only where something has to be read: there may be millions of names. */
type MaybeRead<T> = T | Promise<T>;

const hidden = null;
/** What is behind the next name; undefined behind the last one. */
type Step = NamedNode<MergedNode> | typeof hidden | undefined;

/** The layers that may show a name, from the top; closed when what is below them can't. */
interface FoundName {
  parts: Part[];
  closed: boolean;
}

/** A directory of one layer, at one of its names; undefined at the end. */
interface OpenDirectory {
  layer: number;
  cursor: DirectoryCursor;
  xattrWhiteouts: boolean;
  name: string | undefined;
}

/** Numbers of inodes in a metabox have bit 63 set, which a JavaScript number can't hold. */
const metaboxNumber = 2 ** 48;
const metaboxBit = 1n << 63n;

/**
 * Layers as one tree, as overlayfs mounts them: whiteouts and opaque directories hide what is below, a directory has the attributes of the
 * topmost layer that has it, overlayfs's own xattrs don't show. Lazy: a directory is merged when it is read. With `overlay` false, a
 * single layer as it is, whiteouts and all.
 */
export class MergedTree implements Tree<MergedNode> {
  readonly name: string;
  private readonly stack: LayerStack;

  private constructor(
    private readonly layers: readonly OpenLayer[],
    private readonly overlay: boolean,
    data: readonly OpenLayer[],
    readonly root: MergedNode,
  ) {
    this.name = layers.at(-1)!.name;
    this.stack = {
      roots: root.parts,
      data,
      filesystemOf: (part) => this.filesystemOf(part),
      isWhiteout: async (directory, part) =>
        this.isWhiteout(part, (await this.marks(directory)).xattrWhiteouts),
      isOpaque: async (directory) => (await this.marks(directory)).opaque,
    };
  }

  /**
   * `layers` from the bottom, at least one; one if `overlay` is false. `data`: data-only layers, in the order in which they are asked; with
   * them, what is metadata alone, and redirects, are followed.
   */
  static async open(
    layers: readonly OpenLayer[],
    overlay: boolean,
    data: readonly OpenLayer[] = [],
  ): Promise<MergedTree> {
    const parts: Part[] = [];
    for (const [layer, { filesystem }] of layers.entries()) {
      parts.unshift({ layer, inode: await filesystem.lstat('/') });
    }
    const tree = new MergedTree(layers, overlay, data, nodeOf(parts, layers.length));
    return new MergedTree(layers, overlay, data, await tree.visible(parts));
  }

  /** FAILED when it is no directory. */
  async openDirectory(node: MergedNode): Promise<EntryReader<MergedNode>> {
    this.checkDirectory(node);
    const directories: OpenDirectory[] = [];
    for (const part of node.parts) directories.push(await this.open(part));
    return { next: () => this.nextOf(node.parts, directories) };
  }

  directoryParts({ parts }: MergedNode): DirectoryPart[] {
    return parts.map((part) => ({ ...this.filesystemOf(part).directoryPart(part.inode), layer: part.layer }));
  }

  /** What a directory shows under a name, a byte string; undefined for nothing. FAILED when it is no directory. */
  async lookup(node: MergedNode, name: string): Promise<MergedNode | undefined> {
    this.checkDirectory(node);
    const found: FoundName = { parts: [], closed: false };
    for (const directory of node.parts) {
      const inode = await this.filesystemOf(directory).lookup(directory.inode, Buffer.from(name, 'latin1'));
      if (inode === undefined) continue;
      const part = { layer: directory.layer, inode };
      if (!this.overlay) return this.node([part]);
      addPart(found, part, await this.isWhiteout(part, (await this.marks(directory)).xattrWhiteouts));
      if (found.closed) break;
    }
    return this.shown(found.parts, { directories: node.parts, name });
  }

  /** What a symlink holds. */
  readlink({ parts: [part] }: MergedNode): Promise<Buffer> {
    return this.filesystemOf(part!).readlink(part!.inode);
  }

  /** By the bytes of their names. */
  async xattrs({ parts: [part] }: MergedNode): Promise<Xattr[]> {
    if (!part!.inode.hasXattrs) return [];
    const xattrs = await this.filesystemOf(part!).xattrs(part!.inode);
    return this.overlay ? visibleXattrs(xattrs) : xattrs;
  }

  /** Where the data of a file lies, in order, without its holes. */
  extents(node: MergedNode): Iterable<PlacedExtent> | AsyncIterable<PlacedExtent> {
    if (node.place !== undefined) return this.foundExtents(node);
    const [part] = node.parts;
    return this.filesystemOf(part!).extentsOf(part!.inode);
  }

  /** `length` bytes of a file from `offset`, fewer where it ends. */
  async read(node: MergedNode, offset: number, length: number): Promise<Buffer> {
    const { filesystem, inode } = await this.dataOf(node);
    return filesystem.read(inode, offset, length);
  }

  /** CORRUPT when some file is metadata alone, and its data is not where it says. */
  async checkData(signal: AbortSignal | undefined): Promise<void> {
    for await (const { node } of walkTree(this, { path: '/', node: this.root }, { signal }))
      await this.checkDataOf(node);
  }

  /** CORRUPT when it is a file whose data the image's data-only layers should have, and have not. */
  async checkDataOf(node: MergedNode): Promise<void> {
    if (node.place !== undefined && this.stack.data.length > 0) await this.dataOf(node);
  }

  private async *foundExtents(node: MergedNode): AsyncGenerator<PlacedExtent, void, undefined> {
    const { filesystem, inode } = await this.dataOf(node);
    yield* filesystem.extentsOf(inode);
  }

  private async dataOf({ parts, place }: MergedNode): Promise<DataPart> {
    const part = parts[0]!;
    const filesystem = this.filesystemOf(part);
    if (place === undefined) return { filesystem, inode: part.inode };
    return dataOf(this.stack, part, await filesystem.xattrs(part.inode), place);
  }

  private filesystemOf({ layer }: Part): ErofsFilesystem {
    return this.layers[layer]!.filesystem;
  }

  private node(parts: readonly Part[]): MergedNode {
    return nodeOf(parts, this.layers.length);
  }

  private checkDirectory({ inode: { type } }: MergedNode): void {
    if (type !== 'dir') throw failure('FAILED', this.name, `a ${type} is no directory`);
  }

  /** What the layers that may show a name make of it; a promise only where something has to be read. */
  private shown(parts: readonly Part[], place: Place): MaybeRead<MergedNode | undefined> {
    if (parts.length === 0) return undefined;
    const { type, hasXattrs } = parts[0]!.inode;
    const node = this.node(parts);
    if (type !== 'dir') return type === 'file' && hasXattrs ? { ...node, place } : node;
    const mayBeRedirected = this.stack.data.length > 0 && parts.some(({ inode }) => inode.hasXattrs);
    if (mayBeRedirected) return this.redirected(place);
    return parts.length === 1 ? node : this.visible(parts);
  }

  private async redirected(place: Place): Promise<MergedNode> {
    return this.visible((await followRedirects(this.stack, place)).parts);
  }

  /** The next name that is not hidden; a promise only where something has to be read. */
  private nextOf(
    parents: readonly Part[],
    directories: readonly OpenDirectory[],
  ): MaybeRead<NamedNode<MergedNode> | undefined> {
    for (;;) {
      const step = this.step(parents, directories);
      if (step instanceof Promise) return this.nextRead(step, parents, directories);
      if (step !== hidden) return step;
    }
  }

  private async nextRead(
    reading: Promise<Step>,
    parents: readonly Part[],
    directories: readonly OpenDirectory[],
  ): Promise<NamedNode<MergedNode> | undefined> {
    let step = await reading;
    while (step === hidden) step = await this.step(parents, directories);
    return step;
  }

  private step(parents: readonly Part[], directories: readonly OpenDirectory[]): MaybeRead<Step> {
    const name = firstName(directories);
    if (name === undefined) return undefined;
    const parts = this.take(directories, name);
    if (parts instanceof Promise) return this.stepRead(parts, { directories: parents, name });
    const node = this.seen(parts, { directories: parents, name });
    return node instanceof Promise ? node.then((read) => stepTo(name, read)) : stepTo(name, node);
  }

  private async stepRead(parts: Promise<Part[]>, place: Place): Promise<Step> {
    return stepTo(place.name, await this.seen(await parts, place));
  }

  private seen(parts: readonly Part[], place: Place): MaybeRead<MergedNode | undefined> {
    return this.overlay ? this.shown(parts, place) : this.node(parts);
  }

  private async open(directory: Part): Promise<OpenDirectory> {
    const cursor = await this.filesystemOf(directory).openDirectory(directory.inode);
    const { xattrWhiteouts } = await this.marks(directory);
    return { layer: directory.layer, cursor, xattrWhiteouts, name: nameAt(cursor) };
  }

  /**
   * Moves all directories that are at `name` on: the layers that may show it, from the top; none where a whiteout is on top. A promise only
   * where something has to be read.
   */
  private take(
    directories: readonly OpenDirectory[],
    name: string,
    found: FoundName = { parts: [], closed: false },
    from = 0,
  ): MaybeRead<Part[]> {
    for (let index = from; index < directories.length; index++) {
      const directory = directories[index]!;
      const reading = directory.name === name ? this.takeOf(directory, found) : undefined;
      if (reading !== undefined) return reading.then(() => this.take(directories, name, found, index + 1));
    }
    return found.parts;
  }

  private takeOf(directory: OpenDirectory, found: FoundName): Promise<void> | undefined {
    if (found.closed) return goOn(directory);
    const inode = directory.cursor.inode();
    if (inode instanceof Promise) return this.takeRead(directory, inode, found);
    const part = { layer: directory.layer, inode };
    const isWhiteout = this.overlay && this.isWhiteout(part, directory.xattrWhiteouts);
    if (isWhiteout instanceof Promise) return this.takeRead(directory, inode, found);
    addPart(found, part, isWhiteout);
    return goOn(directory);
  }

  private async takeRead(
    directory: OpenDirectory,
    reading: MaybeRead<ErofsInode>,
    found: FoundName,
  ): Promise<void> {
    const part = { layer: directory.layer, inode: await reading };
    addPart(found, part, this.overlay && (await this.isWhiteout(part, directory.xattrWhiteouts)));
    await goOn(directory);
  }

  /** At once where no xattr has to be read. */
  private isWhiteout(part: Part, xattrWhiteouts: boolean): boolean | Promise<boolean> {
    if (isWhiteoutDevice(part.inode)) return true;
    if (!xattrWhiteouts || !mayBeXattrWhiteout(part.inode)) return false;
    return this.filesystemOf(part).xattrs(part.inode).then(hasWhiteoutXattr);
  }

  private async marks(part: Part) {
    return directoryMarks(part.inode.hasXattrs ? await this.filesystemOf(part).xattrs(part.inode) : []);
  }

  /** A directory without the parts below an opaque one. */
  private async visible(parts: readonly Part[]): Promise<MergedNode> {
    if (!this.overlay) return this.node(parts);
    for (const [index, part] of parts.entries()) {
      if (index + 1 < parts.length && (await this.marks(part)).opaque)
        return this.node(parts.slice(0, index + 1));
    }
    return this.node(parts);
  }
}

function nodeOf(parts: readonly Part[], layers: number): MergedNode {
  const { inode, layer } = parts[0]!;
  const inMetabox = inode.nid >= metaboxBit;
  const nid = inMetabox ? Number(inode.nid - metaboxBit) + metaboxNumber : Number(inode.nid);
  return { type: inode.type, inode, ino: nid * layers + layer, parts };
}

function nameAt(cursor: DirectoryCursor): string | undefined {
  return cursor.atEnd ? undefined : cursor.text();
}

function stepTo(name: string, node: MergedNode | undefined): Step {
  return node === undefined ? hidden : { name, node };
}

/** Moves a directory to its next name. */
function goOn(directory: OpenDirectory): Promise<void> | undefined {
  const { cursor } = directory;
  const reading = cursor.skip();
  if (reading !== undefined) {
    return reading.then(() => {
      directory.name = nameAt(cursor);
    });
  }
  directory.name = nameAt(cursor);
  return undefined;
}

/** The smallest by its bytes. */
function firstName(directories: readonly OpenDirectory[]): string | undefined {
  let first: string | undefined;
  for (const { name } of directories) {
    if (name !== undefined && (first === undefined || name < first)) first = name;
  }
  return first;
}

/** Adds what the next layer down has under a name. */
function addPart(found: FoundName, part: Part, isWhiteout: boolean): void {
  const isFirst = found.parts.length === 0;
  if (!isWhiteout && (isFirst || part.inode.type === 'dir')) found.parts.push(part);
  // Below a whiteout, a file, or something in the way of a directory, nothing shows.
  found.closed = isWhiteout || part.inode.type !== 'dir';
}
