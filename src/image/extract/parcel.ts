import type { PlacedExtent } from '../../erofs/data';
import { EntryColumns, type ExtractEntry } from './columns';
import type { LocalSources } from '../local-sources';
import type { MergedNode, MergedTree } from '../merged-tree';
import type { View } from '../open-view';
import type { TreeEntry } from '../../erofs/tree-walk';

/** Much more would only keep more memory busy, and leave less to do at once: a parcel is written while others are made. */
const parcelBytes = 8 << 20;
const parcelEntries = 512;
/** A file of which native code reads the bytes by itself is cut only so that its progress can be seen. */
const maxPart = 16 << 20;
const noXattrs: ExtractEntry['xattrs'] = [];

/** Entries that are written by one native call, after the folders among them. */
export class Parcel {
  readonly folders = new EntryColumns();
  readonly others = new EntryColumns();
  /** Of files that are complete with it. */
  fileBytes = 0;
  /** Of data. */
  bytes = 0;
  /** It has only a part of some file: its neighbours can't be written meanwhile. */
  isPart = false;
  private readonly reads: (() => Promise<void>)[] = [];

  constructor(private readonly tree: MergedTree) {}

  isFull(): boolean {
    return this.bytes >= parcelBytes || this.folders.count + this.others.count >= parcelEntries;
  }

  /** Gets the bytes that native code can't read by itself. */
  async fetch(): Promise<void> {
    if (this.reads.length > 0) await Promise.all(this.reads.map((read) => read()));
  }

  addBytes(node: MergedNode, offset: number, length: number): void {
    const index = this.others.addBytes(offset);
    this.reads.push(async () => {
      this.others.fill(index, await this.tree.read(node, offset, length));
    });
  }
}

/** Turns entries of a tree into parcels, in order: files larger than a parcel take several. Hard links come last, with takeLinks(). */
export class ParcelMaker {
  private readonly tree: MergedTree;
  private readonly local: LocalSources;
  private parcel: Parcel;
  private full: Parcel[] = [];
  /** The first name of files that have several. */
  private readonly names = new Map<number, string>();
  private readonly links: ExtractEntry[] = [];

  constructor({ tree, local }: View) {
    this.tree = tree;
    this.local = local;
    this.parcel = new Parcel(tree);
  }

  /** Without a promise where nothing has to be read: nearly always, and there may be millions. */
  add({ path: absolute, node }: TreeEntry<MergedNode>): Promise<void> | undefined {
    if (this.parcel.isFull()) this.next();
    const path = absolute.slice(1);
    const target = this.otherName(path, node);
    if (target !== undefined) {
      this.links.push({ ...extractEntry(path, node), kind: 'hardlink', target });
      return undefined;
    }
    const entry = extractEntry(path, node);
    if (entry.kind === 'dir') {
      this.parcel.folders.add(entry);
      return undefined;
    }
    if (entry.kind === 'symlink' || node.inode.hasXattrs) return this.addDetailed(node, entry);
    this.parcel.others.add(entry);
    return entry.kind === 'file' ? this.addData(node, entry) : undefined;
  }

  hasFull(): boolean {
    return this.full.length > 0;
  }

  /** The parcels that are full; with `all`, also what is left. */
  take(all = false): Parcel[] {
    if (all) this.next();
    return this.full.splice(0);
  }

  takeLinks(): Parcel[] {
    for (const link of this.links.splice(0)) {
      if (this.parcel.isFull()) this.next();
      this.parcel.others.add(link);
    }
    return this.take(true);
  }

  private next(): void {
    this.full.push(this.parcel);
    this.parcel = new Parcel(this.tree);
  }

  /** The name under which a file with several was added before. */
  private otherName(path: string, { ino, inode }: MergedNode): string | undefined {
    if (inode.type === 'dir' || inode.nlink < 2) return undefined;
    const known = this.names.get(ino);
    if (known === undefined) this.names.set(ino, path);
    return known;
  }

  private async addDetailed(node: MergedNode, entry: ExtractEntry): Promise<void> {
    await addDetails(this.tree, node, entry);
    this.parcel.others.add(entry);
    if (entry.kind === 'file') await this.addData(node, entry);
  }

  private addData(node: MergedNode, file: ExtractEntry): Promise<void> | undefined {
    const extents = this.tree.extents(node);
    if (Symbol.asyncIterator in extents) return this.addExtents(node, file, extents);
    for (const extent of extents) this.addExtent(node, file, extent);
    this.parcel.fileBytes += file.size;
    return undefined;
  }

  private async addExtents(
    node: MergedNode,
    file: ExtractEntry,
    extents: AsyncIterable<PlacedExtent>,
  ): Promise<void> {
    for await (const extent of extents) this.addExtent(node, file, extent);
    this.parcel.fileBytes += file.size;
  }

  private addExtent(node: MergedNode, file: ExtractEntry, extent: PlacedExtent): void {
    const source = extent.source && this.local.get(extent.source);
    const limit = source === null ? parcelBytes : maxPart;
    for (let done = 0; done < extent.length;) {
      if (this.parcel.bytes >= limit) this.cut(file);
      const length = Math.min(extent.length - done, limit - this.parcel.bytes);
      const offset = extent.offset + done;
      this.parcel.bytes += length;
      if (source === null) this.parcel.addBytes(node, offset, length);
      else this.parcel.others.addPiece(offset, source, extent.address + done, length);
      done += length;
    }
  }

  /** Goes on with the file in a new parcel. */
  private cut(file: ExtractEntry): void {
    this.parcel.others.leaveOpen();
    this.parcel.isPart = true;
    this.next();
    this.parcel.others.add({ ...file, begins: false });
    this.parcel.isPart = true;
  }
}

/** What is to be made of a node, but for addDetails(); all of one shape, since there are many. */
export function extractEntry(path: string, node: MergedNode): ExtractEntry {
  const { type, mode, uid, gid, mtime, rdev, size } = node.inode;
  return {
    kind: type,
    path,
    target: '',
    mode,
    uid,
    gid,
    seconds: Number(mtime.seconds),
    nanoseconds: mtime.nanoseconds,
    xattrs: noXattrs,
    major: rdev?.major ?? 0,
    minor: rdev?.minor ?? 0,
    size,
    begins: true,
    ends: true,
  };
}

/** Adds what has to be read: a link's target, xattrs. */
export async function addDetails(tree: MergedTree, node: MergedNode, entry: ExtractEntry): Promise<void> {
  if (entry.kind === 'symlink') entry.target = (await tree.readlink(node)).toString('latin1');
  if (!node.inode.hasXattrs) return;
  const xattrs = await tree.xattrs(node);
  entry.xattrs = xattrs.map(({ name, value }) => ({ name: name.toString('latin1'), value }));
}
