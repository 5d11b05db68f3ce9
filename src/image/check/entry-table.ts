import { setImmediate } from 'node:timers/promises';
import type { FileType } from '../../erofs/inode';
import { bytes, words } from './columns';
import { NameTable } from './name-table';
import {
  attributesIn,
  folderIn,
  nodeIn,
  nameIn,
  nothing,
  otherIn,
  RecordEncoder,
  secondsIn,
  targetIn,
} from './node-record';
import { RecordFile } from './record-file';
import type { NodeAttributes, TreeNode } from './tree-node';

/** The entry that all others are below. */
export const root = 0;

/** What an entry is; a whiteout is a mark for its folder, under a name that nothing else can have. */
type EntryType = FileType | 'whiteout';

/** By the low bits of an entry's flags. */
const types = ['file', 'dir', 'symlink', 'char', 'block', 'fifo', 'socket', 'whiteout'] as const;
const typeMask = 7;
/** It was replaced, or lies in a folder that was. Its node may live on under other names. */
const removed = 8;
/** It was come across: what that means is its user's. */
const seen = 16;
const opaque = 32;
/** The source has an entry of its own for the node. */
const named = 64;
/** A further name of a node that another entry has. */
const link = 128;

const entriesPerTurn = 8192;

/**
 * The names that a layer should have, and the nodes behind them: some 17 bytes of memory for each, whatever it says. Texts and attributes are
 * records, which go to a temporary file when they are many. Entries have numbers, rising; a node has the number of the entry that brought it. close() it.
 */
export class EntryTable {
  /** Numbers given so far; all smaller ones are entries. */
  length = 0;
  /** Names that there are, the root's included; set by countNames(). */
  count = 0;
  private readonly records: RecordFile;
  private hasRemovedFolder = false;
  private readonly encoder = new RecordEncoder();
  private readonly names = new NameTable(
    (entry, folder, name) => this.folderOf(entry) === folder && this.nameOf(entry) === name,
  );
  private readonly flags = bytes();
  /** Where the record of an entry is. */
  private readonly places = words();
  /** Where the last record of what was told later of a node is; 0 for none. */
  private readonly descriptions = words();
  /** Of a directory, the directories in it; of other nodes, the names that are links. */
  private readonly further = words();

  /** @param tmpDir where the temporary file goes; default: the system's folder */
  constructor(tmpDir?: string) {
    this.records = new RecordFile(tmpDir);
  }

  /** The entry of a name in a folder. */
  find(folder: number, name: string): number | undefined {
    const entry = this.names.find(folder, name);
    return entry === 0 || this.is(entry, removed) ? undefined : entry;
  }

  /** Adds a node under a name, in the place of what was there. The root is added first, under no name. */
  add(folder: number, name: string, type: EntryType, node: Omit<TreeNode, 'type'>, isNamed = true): number {
    const record = this.records.append(this.encoder.encode(folder, name, 0, node));
    return this.place(folder, name, types.indexOf(type) | (isNamed ? named : 0), record);
  }

  /** Adds a further name of a node that is no directory. */
  addLink(folder: number, name: string, node: number): number {
    const record = this.records.append(this.encoder.encode(folder, name, node, nothing));
    return this.place(folder, name, (this.flags.get(node) & typeMask) | link, record);
  }

  remove(entry: number): void {
    this.mark(entry, removed);
    this.hasRemovedFolder ||= this.isDirectory(entry);
  }

  /** Gives a node other attributes; its xattrs stay, but for those that get other values. */
  describe(node: number, attributes: NodeAttributes): void {
    const before = this.descriptions.get(node);
    const record = this.encoder.encode(0, '', before, { ...nothing, ...attributes });
    this.descriptions.set(node, this.records.append(record));
  }

  setNamed(node: number): void {
    this.mark(node, named);
  }

  setOpaque(directory: number): void {
    this.mark(directory, opaque);
  }

  /** False when it was seen before. */
  see(entry: number): boolean {
    if (this.is(entry, seen)) return false;
    this.mark(entry, seen);
    return true;
  }

  typeOf(entry: number): EntryType {
    return types[this.flags.get(entry) & typeMask]!;
  }

  isDirectory(entry: number): boolean {
    return this.typeOf(entry) === 'dir';
  }

  isRemoved(entry: number): boolean {
    return this.is(entry, removed);
  }

  isNamed(node: number): boolean {
    return this.is(node, named);
  }

  isOpaque(directory: number): boolean {
    return this.is(directory, opaque);
  }

  folderOf(entry: number): number {
    return folderIn(this.recordOf(entry));
  }

  nameOf(entry: number): string {
    return nameIn(this.recordOf(entry));
  }

  /** From the root, `/` for the root itself. */
  pathOf(entry: number): string {
    let path = '';
    for (let at = entry; at !== root; at = this.folderOf(at)) path = `/${this.nameOf(at)}${path}`;
    return path === '' ? '/' : path;
  }

  /** The node behind an entry. */
  nodeOf(entry: number): number {
    return this.is(entry, link) ? otherIn(this.recordOf(entry)) : entry;
  }

  targetOf(symlink: number): string {
    return targetIn(this.recordOf(symlink));
  }

  secondsOf(node: number): bigint {
    return secondsIn(this.lastDescription(node));
  }

  /** REQUIRES: the node is not a whiteout. */
  read(node: number): TreeNode {
    const type = this.typeOf(node) as FileType;
    const attributes = this.attributesOf(node);
    return nodeIn(type, this.recordOf(node), attributes);
  }

  attributesOf(node: number): NodeAttributes {
    const attributes = attributesIn(this.lastDescription(node));
    if (this.descriptions.get(node) === 0) return attributes;
    const xattrs = new Map(attributes.xattrs);
    // What was told before holds where nothing else was told since.
    for (let at = this.descriptions.get(node); at > 0;) {
      at = otherIn(this.records.read(at));
      const { xattrs: before } = attributesIn(at > 0 ? this.records.read(at) : this.recordOf(node));
      for (const [name, value] of before ?? []) if (!xattrs.has(name)) xattrs.set(name, value);
    }
    return { ...attributes, xattrs: xattrs.size > 0 ? xattrs : null };
  }

  /** Names of a node; of a directory 2 and one for each directory in it. After countNames(). */
  linksOf(node: number): number {
    const own = this.isDirectory(node) ? 2 : Number(!this.is(node, removed));
    return own + this.further.get(node);
  }

  /** Removes what lies in folders that were removed. */
  async removeBuried(): Promise<void> {
    if (!this.hasRemovedFolder) return;
    // A folder comes before what lies in it.
    await this.forEach((entry) => {
      if (this.is(this.folderOf(entry), removed)) this.remove(entry);
    });
  }

  /** To be called once, when nothing is added or removed any more. */
  async countNames(): Promise<void> {
    this.count = 0;
    await this.forEach((entry) => {
      this.count++;
      const counted = this.isDirectory(entry) ? this.folderOf(entry) : this.nodeOf(entry);
      if (entry !== root && (this.isDirectory(entry) || counted !== entry))
        this.further.set(counted, this.further.get(counted) + 1);
    });
  }

  /** Visits all entries that are there now, in order, and lets others have their turn. */
  async forEach(visit: (entry: number) => void): Promise<void> {
    const { length } = this;
    for (let entry = root; entry < length; entry++) {
      if (!this.is(entry, removed)) visit(entry);
      if (entry % entriesPerTurn === 0) await this.settle();
    }
    await this.settle();
  }

  /** To be called after some thousand entries were added: makes room in memory. NO_SPACE when the disk would get full. */
  async settle(): Promise<void> {
    await this.records.settle();
    await setImmediate();
  }

  close(): Promise<void> {
    return this.records.close();
  }

  private place(folder: number, name: string, flags: number, record: number): number {
    const entry = this.length++;
    this.flags.set(entry, flags);
    this.places.set(entry, record);
    if (entry === root) return root;
    const replaced = this.names.set(folder, name, entry);
    if (replaced !== 0) this.remove(replaced);
    return entry;
  }

  private recordOf(entry: number): Buffer {
    return this.records.read(this.places.get(entry));
  }

  private lastDescription(node: number): Buffer {
    const at = this.descriptions.get(node);
    return at > 0 ? this.records.read(at) : this.recordOf(node);
  }

  private is(entry: number, flag: number): boolean {
    return (this.flags.get(entry) & flag) !== 0;
  }

  private mark(entry: number, flag: number): void {
    this.flags.set(entry, this.flags.get(entry) | flag);
  }
}
