import type { Directory } from './directory';
import type { Inode, InodeTable } from './inode';

/** Goes through the entries of a directory in the order of their names' bytes, with a part of it in memory at a time. */
export class DirectoryCursor {
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

  /** `prefix`, then the name, as new bytes. */
  path(prefix: Buffer): Buffer {
    return this.part!.path(prefix, this.index);
  }

  /** What is behind the name, at once when its bytes are in memory. */
  inode(): Inode | Promise<Inode> {
    return this.inodes.get(this.part!.nid(this.index));
  }

  /** Goes on to the next entry; a promise only where more of the directory has to be read. */
  next(): Promise<void> | undefined {
    if (++this.index < this.part!.count) return undefined;
    return this.load();
  }

  private async load(): Promise<void> {
    const { done, value } = await this.parts.next();
    this.part = done === true ? undefined : value;
    this.index = 0;
  }
}
