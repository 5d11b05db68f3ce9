import type { DirectoryCursor } from '../../erofs/directory-cursor';
import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import type { DirectoryPart, EntryReader, NamedNode, WalkedTree } from '../../erofs/tree';
import { walkTree } from '../../erofs/tree-walk';
import type { ContentComparison } from './compare-content';
import { compareInodes } from './compare-inodes';
import { LinkComparison } from './compare-links';
import type { DifferenceList } from './differences';
import { root, type EntryTable } from './entry-table';

/** What an image has at a path, and what it should have. */
interface Pair {
  type: ErofsInode['type'];
  actual: ErofsInode;
  /** Of the entries that the layer should have; undefined where it should have none. */
  expected: number | undefined;
}

/** Compares the tree that a layer should have with the one that an image has, path by path. */
export class TreeComparison {
  private readonly links: LinkComparison;

  constructor(
    private readonly image: ErofsFilesystem,
    private readonly expected: EntryTable,
    private readonly contents: ContentComparison,
    private readonly differences: DifferenceList,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.links = new LinkComparison(expected);
  }

  /** CORRUPT when the image breaks its format. */
  async run(): Promise<void> {
    const { image, expected, signal } = this;
    const tree = new PairedTree(image, expected, this.compareCounts.bind(this));
    const actual = await image.lstat('/');
    const start = { path: '/', node: { type: actual.type, actual, expected: root } };
    for await (const { path, node } of walkTree(tree, start, { signal })) await this.compare(path, node);
    await expected.forEach((entry) => {
      if (expected.see(entry))
        this.differences.add(expected.pathOf(entry), 'missing', expected.typeOf(entry), null);
    });
    await this.contents.finish();
  }

  private async compare(path: string, { expected: entry, actual }: Pair): Promise<void> {
    if (entry === undefined) {
      this.differences.add(path, 'extra', null, actual.type);
      return;
    }
    this.expected.see(entry);
    const type = this.expected.typeOf(entry);
    if (type !== actual.type) {
      this.differences.add(path, 'type', type, actual.type);
      return;
    }
    const node = this.expected.nodeOf(entry);
    const wanted = this.expected.read(node);
    const report = this.differences.add.bind(this.differences, path);
    await compareInodes(wanted, actual, this.image, report);
    if (type === 'dir' || this.links.compare({ entry, node, path }, actual, report)) return;
    if (type === 'file' && wanted.size === actual.size) await this.contents.add(path, wanted, actual);
  }

  /** The link count of a directory; where other directories are in it than should be, that is reported of those. */
  private compareCounts({ expected: entry, actual }: Pair, directories: number): void {
    if (entry === undefined || !this.expected.isDirectory(entry)) return;
    const links = this.expected.linksOf(entry);
    if (links === 2 + directories && links !== actual.nlink)
      this.differences.add(this.expected.pathOf(entry), 'links', links, actual.nlink);
  }
}

/** The tree of an image, together with what should be at each of its paths. */
class PairedTree implements WalkedTree<Pair> {
  readonly name = 'comparison';

  constructor(
    private readonly image: ErofsFilesystem,
    private readonly expected: EntryTable,
    /** Called at the end of each directory, with the number of directories in it. */
    private readonly onEnd: (directory: Pair, directories: number) => void,
  ) {}

  async openDirectory(directory: Pair): Promise<EntryReader<Pair>> {
    return new PairedDirectory(
      directory,
      await this.image.openDirectory(directory.actual),
      this.expected,
      this.onEnd,
    );
  }

  directoryParts({ actual }: Pair): [DirectoryPart] {
    return [this.image.directoryPart(actual)];
  }
}

/** Goes through a directory of the image. */
class PairedDirectory implements EntryReader<Pair> {
  private directories = 0;

  constructor(
    private readonly directory: Pair,
    private readonly cursor: DirectoryCursor,
    private readonly entries: EntryTable,
    private readonly onEnd: (directory: Pair, directories: number) => void,
  ) {}

  next(): NamedNode<Pair> | undefined | Promise<NamedNode<Pair> | undefined> {
    const read = this.cursor.next();
    return read instanceof Promise ? read.then((found) => this.pair(found)) : this.pair(read);
  }

  private pair(found: NamedNode<ErofsInode> | undefined): NamedNode<Pair> | undefined {
    if (found === undefined) {
      this.onEnd(this.directory, this.directories);
      return undefined;
    }
    const { name, node: actual } = found;
    if (actual.type === 'dir') this.directories++;
    const { expected: folder } = this.directory;
    const expected = folder === undefined ? undefined : this.entries.find(folder, name);
    return { name, node: { type: actual.type, actual, expected } };
  }
}
