import type { Directory } from './directory';
import type { Inode, InodeTable } from './inode';
import type { EntryReader, NamedNode } from './tree';

/** Goes through the entries of a directory in the order of their names' bytes, with a part of it in memory at a time. */
export class DirectoryCursor implements EntryReader<Inode> {
  private part: Directory | undefined;
  private index = 0;

  private constructor(
    private readonly parts: AsyncIterator<Directory, void>,
    private readonly inodes: InodeTable,
  ) {}

  /** A cursor at the first entry. `parts` are the directory's, none empty. */
  static async open(parts: AsyncIterator<Directory, void>, inodes: InodeTable): Promise<DirectoryCursor> {
    const cursor = new DirectoryCursor(parts, inodes);
    await cursor.load();
    return cursor;
  }

  /** Behind the last entry: nothing else may be asked for then. */
  get atEnd(): boolean {
    return this.part === undefined;
  }

  /** The entry's name as a byte string: one character (0–255) a byte. */
  text(): string {
    return this.part!.text(this.index);
  }

  /** The name's bytes: a view. */
  name(): Buffer {
    return this.part!.name(this.index);
  }

  /** What is behind the name, at once when its bytes are in memory. */
  inode(): Inode | Promise<Inode> {
    return this.inodes.get(this.part!.nid(this.index));
  }

  /** The entry that it is at, and on to the one behind it. */
  next(): NamedNode<Inode> | undefined | Promise<NamedNode<Inode> | undefined> {
    if (this.atEnd) return undefined;
    const name = this.text();
    const node = this.inode();
    if (node instanceof Promise) return node.then((read) => this.goingOn(name, read));
    return this.goingOn(name, node);
  }

  /** Goes on to the next entry; a promise only where more of the directory has to be read. */
  skip(): Promise<void> | undefined {
    if (++this.index < this.part!.count) return undefined;
    return this.load();
  }

  private goingOn(name: string, node: Inode): NamedNode<Inode> | Promise<NamedNode<Inode>> {
    const entry = { name, node };
    const reading = this.skip();
    return reading === undefined ? entry : reading.then(() => entry);
  }

  private async load(): Promise<void> {
    const { done, value } = await this.parts.next();
    this.part = done === true ? undefined : value;
    this.index = 0;
  }
}
