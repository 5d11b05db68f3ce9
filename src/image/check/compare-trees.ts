import { failure } from '../../errors';
import type { DirectoryCursor } from '../../erofs/directory-cursor';
import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import { NidSet } from '../../erofs/nid-set';
import { maxPath } from '../../erofs/tree-walk';
import type { ContentComparison } from './compare-content';
import { compareInodes } from './compare-inodes';
import type { DifferenceList } from './differences';
import type { TreeNode } from './tree-node';

/** A path on both sides; null where it isn't. */
interface Pair {
  /** '' for the root. */
  path: string;
  expected: TreeNode | null;
  actual: ErofsInode | null;
}

/** Compares the tree that a layer should have with the one that an image has, path by path. */
export class TreeComparison {
  /** Paths that the layer should have. */
  entries = 0;
  private readonly links = new LinkComparison();
  private readonly directories = new NidSet();

  constructor(
    private readonly image: ErofsFilesystem,
    private readonly contents: ContentComparison,
    private readonly differences: DifferenceList,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** CORRUPT when the image breaks its format. */
  async run(root: TreeNode): Promise<void> {
    const top: Pair = { path: '', expected: root, actual: await this.image.lstat('/') };
    await this.compare(top);
    const levels = await this.levelOf(top);
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const pair = await level.names.next();
      if (pair === undefined) {
        this.compareCounts(level.pair, level.names.directories);
        levels.pop();
        continue;
      }
      if (this.signal?.aborted === true) throw failure('CANCELLED', 'comparison', 'cancelled');
      await this.compare(pair);
      levels.push(...(await this.levelOf(pair)));
    }
    await this.contents.finish();
  }

  /** None when the pair is a directory on neither side. */
  private async levelOf(pair: Pair): Promise<{ pair: Pair; names: PairedDirectory }[]> {
    if (pair.expected?.type !== 'dir' && pair.actual?.type !== 'dir') return [];
    return [{ pair, names: await this.open(pair) }];
  }

  private async compare({ path, expected, actual }: Pair): Promise<void> {
    const shown = shownPath(path);
    if (expected !== null) this.entries++;
    if (expected === null || actual === null) {
      this.differences.add(
        shown,
        expected === null ? 'extra' : 'missing',
        expected?.type ?? null,
        actual?.type ?? null,
      );
      return;
    }
    if (expected.type !== actual.type) {
      this.differences.add(shown, 'type', expected.type, actual.type);
      return;
    }
    const report = this.differences.add.bind(this.differences, shown);
    await compareInodes(expected, actual, this.image, report);
    if (expected.type === 'dir' || this.links.compare(shown, expected, actual, report)) return;
    if (expected.type === 'file' && expected.size === actual.size)
      await this.contents.add(shown, expected, actual);
  }

  /** A directory has one name: an image that breaks this could go on for ever. */
  private async open({ path, expected, actual }: Pair): Promise<PairedDirectory> {
    if (path.length > maxPath) throw failure('UNSUPPORTED', path.slice(0, 64), 'a path of over 32 KiB');
    const names = [...(expected?.children?.keys() ?? [])].sort();
    if (actual?.type !== 'dir') return new PairedDirectory(path, names, expected, null);
    if (!this.directories.add(actual.nid)) {
      throw failure('CORRUPT', path, `inode ${actual.nid}: the directory is in the tree twice`);
    }
    return new PairedDirectory(path, names, expected, await this.image.openDirectory(actual));
  }

  /** The link count of a directory; where other directories are in it than should be, that is reported of those. */
  private compareCounts({ path, expected, actual }: Pair, directories: number): void {
    if (expected?.type !== 'dir' || actual?.type !== 'dir') return;
    const { links } = expected;
    if (links === 2 + directories && links !== actual.nlink)
      this.differences.add(shownPath(path), 'links', links, actual.nlink);
  }
}

/** The names in a directory, of both sides, in the order of their bytes. */
class PairedDirectory {
  /** Directories that the image has in it, of the names so far. */
  directories = 0;
  private index = 0;

  constructor(
    private readonly path: string,
    private readonly names: readonly string[],
    private readonly expected: TreeNode | null,
    private readonly cursor: DirectoryCursor | null,
  ) {}

  /** The next name, undefined behind the last one. */
  async next(): Promise<Pair | undefined> {
    const { cursor } = this;
    const wanted = this.names[this.index];
    const found = cursor === null || cursor.atEnd ? undefined : cursor.text();
    if (wanted === undefined && found === undefined) return undefined;
    const name = found === undefined || (wanted !== undefined && wanted < found) ? wanted! : found;
    const pair: Pair = { path: `${this.path}/${name}`, expected: null, actual: null };
    if (name === wanted) {
      pair.expected = this.expected!.children!.get(name)!;
      this.index++;
    }
    if (name === found) {
      pair.actual = await cursor!.inode();
      if (pair.actual.type === 'dir') this.directories++;
      await cursor!.skip();
    }
    return pair;
  }
}

/** The root's path is '' where names are appended to it. */
function shownPath(path: string): string {
  return path === '' ? '/' : path;
}

/** Compares which names belong to one file. A group of names is known by the first of them that is on both sides. */
class LinkComparison {
  private readonly expectedNames = new Map<TreeNode, string>();
  /** Of files that either side says have several. */
  private readonly actualNames = new Map<bigint, string>();
  private readonly seen = new NidSet();

  /** True when both sides say that this file was seen before under another name, the same. */
  compare(
    path: string,
    expected: TreeNode,
    actual: ErofsInode,
    report: (field: 'links', expected: string | number, actual: string | number) => void,
  ): boolean {
    const wanted = this.expectedNames.get(expected);
    const isNew = this.seen.add(actual.nid);
    const found = isNew ? undefined : (this.actualNames.get(actual.nid) ?? 'another path');
    if (wanted === undefined && expected.links > 1) this.expectedNames.set(expected, path);
    if (isNew && (expected.links > 1 || actual.nlink > 1)) this.actualNames.set(actual.nid, path);
    if (wanted !== found) report('links', wanted ?? path, found ?? path);
    const isFirst = wanted === undefined && found === undefined;
    if (isFirst && expected.links !== actual.nlink) report('links', expected.links, actual.nlink);
    return !isFirst && wanted === found;
  }
}
