import type { PlacedExtent } from '../erofs/data';
import type { NewEntry, NewPiece } from '../native/binding';
import type { LocalSources } from './local-sources';
import type { MergedNode, MergedTree } from './merged-tree';
import type { View } from './open-view';
import type { TreeEntry } from './tree-walk';

/** Much more would only keep more memory busy: a parcel is written while the next ones are made. */
const parcelBytes = 4 << 20;
const parcelEntries = 512;
const noXattrs: NonNullable<NewEntry['xattrs']> = [];
const noBytes = Buffer.alloc(0);

/** Entries that are written by one native call. */
export class Parcel {
  readonly entries: NewEntry[] = [];
  /** Of data. */
  bytes = 0;
  private readonly reads: (() => Promise<void>)[] = [];

  constructor(private readonly tree: MergedTree) {}

  isFull(): boolean {
    return this.bytes >= parcelBytes || this.entries.length >= parcelEntries;
  }

  /** Gets the bytes that native code can't read by itself. */
  async fetch(): Promise<void> {
    await Promise.all(this.reads.map((read) => read()));
  }

  addPiece(node: MergedNode, file: NewEntry, extent: PlacedExtent, local: LocalSources): void {
    const { offset, length, address } = extent;
    this.bytes += length;
    const source = extent.source && local.get(extent.source);
    if (source !== null) {
      file.pieces!.push({ offset, source, address, length });
      return;
    }
    const piece: NewPiece = { offset, bytes: noBytes };
    file.pieces!.push(piece);
    this.reads.push(async () => {
      piece.bytes = await this.tree.read(node, offset, length);
    });
  }
}

/** Turns entries of a tree into parcels, in order: files larger than a parcel take several. */
export class ParcelMaker {
  private readonly tree: MergedTree;
  private readonly local: LocalSources;
  private parcel: Parcel;
  private readonly full: Parcel[] = [];
  /** The first name of files that have several. */
  private readonly names = new Map<number, string>();

  constructor({ tree, local }: View) {
    this.tree = tree;
    this.local = local;
    this.parcel = new Parcel(tree);
  }

  async add({ path: absolute, node }: TreeEntry): Promise<void> {
    if (this.parcel.isFull()) this.next();
    const path = absolute.slice(1);
    const target = this.otherName(path, node);
    if (target !== undefined) {
      this.parcel.entries.push({ kind: 'hardlink', path, target });
      return;
    }
    const entry = await newEntry(this.tree, path, node);
    this.parcel.entries.push(entry);
    if (entry.kind === 'file') await this.addData(node, entry);
  }

  /** The parcels that are full; with `all`, also what is left. */
  take(all = false): Parcel[] {
    if (all) this.next();
    return this.full.splice(0);
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

  private async addData(node: MergedNode, file: NewEntry): Promise<void> {
    let current = file;
    for await (const extent of await this.tree.extents(node)) {
      for (let done = 0; done < extent.length;) {
        if (this.parcel.bytes >= parcelBytes) {
          current.ends = false;
          this.next();
          current = { ...file, pieces: [], begins: false, ends: true };
          this.parcel.entries.push(current);
        }
        const length = Math.min(extent.length - done, parcelBytes - this.parcel.bytes);
        this.parcel.addPiece(node, current, cut(extent, done, length), this.local);
        done += length;
      }
    }
  }
}

function cut(extent: PlacedExtent, from: number, length: number): PlacedExtent {
  if (length === extent.length) return extent;
  return { ...extent, offset: extent.offset + from, address: extent.address + from, length };
}

/** What is to be made of a node; all of one shape, since there are many. */
export async function newEntry(tree: MergedTree, path: string, node: MergedNode): Promise<NewEntry> {
  const { type, mode, uid, gid, mtime, rdev, size, hasXattrs } = node.inode;
  return {
    kind: type,
    path,
    target: type === 'symlink' ? (await tree.readlink(node)).toString('latin1') : '',
    mode,
    uid,
    gid,
    seconds: Number(mtime.seconds),
    nanoseconds: mtime.nanoseconds,
    xattrs: hasXattrs ? await newXattrs(tree, node) : noXattrs,
    major: rdev?.major ?? 0,
    minor: rdev?.minor ?? 0,
    size,
    pieces: [],
    begins: true,
    ends: true,
  };
}

async function newXattrs(tree: MergedTree, node: MergedNode): Promise<{ name: string; value: Buffer }[]> {
  const xattrs = await tree.xattrs(node);
  return xattrs.map(({ name, value }) => ({ name: name.toString('latin1'), value }));
}
