import { failure } from '../errors';
import type { DirectoryEntry, ErofsFilesystem } from '../erofs/filesystem';
import type { ErofsInode } from '../erofs/inode';
import { maxPath } from '../erofs/tree-walk';
import type { ContentComparison } from './compare-content';
import { compareInodes } from './compare-inodes';
import type { DifferenceList } from './differences';
import type { TreeNode } from './tree-node';

/** A path on both sides; null where it isn't. */
interface Pair {
  /** '' for the root. */
  path: string;
  /** The last component of the path. */
  name: string;
  expected: TreeNode | null;
  actual: ErofsInode | null;
}

/** Compares the tree that a layer should have with the one that an image has, path by path. */
export class TreeComparison {
  /** Paths that the layer should have. */
  entries = 0;
  private readonly links = new LinkComparison();
  private readonly directories = new Set<bigint>();

  constructor(
    private readonly image: ErofsFilesystem,
    private readonly contents: ContentComparison,
    private readonly differences: DifferenceList,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** CORRUPT when the image breaks its format. */
  async run(root: TreeNode): Promise<void> {
    const levels = [[{ path: '', name: '', expected: root, actual: await this.image.lstat('/') } as Pair]];
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const pair = level.pop();
      if (pair === undefined) {
        levels.pop();
        continue;
      }
      if (this.signal?.aborted === true) throw failure('CANCELLED', 'comparison', 'cancelled');
      await this.compare(pair);
      if (pair.expected?.type === 'dir' || pair.actual?.type === 'dir')
        levels.push(await this.children(pair));
    }
    await this.contents.finish();
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

  /** The names in a directory, of both sides, the last one first. */
  private async children({ path, expected, actual }: Pair): Promise<Pair[]> {
    if (path.length > maxPath) throw failure('UNSUPPORTED', path.slice(0, 64), 'a path of over 32 KiB');
    const pairs = new Map<string, Pair>();
    for (const [name, node] of expected?.children ?? []) {
      pairs.set(name, { path: `${path}/${name}`, name, expected: node, actual: null });
    }
    const extra: Pair[] = [];
    if (actual?.type === 'dir') {
      const entries = await this.enter(path, actual);
      for (const { name: bytes, inode } of entries) {
        const name = bytes.toString('latin1');
        const pair = pairs.get(name);
        if (pair?.actual === null) pair.actual = inode;
        else extra.push({ path: `${path}/${name}`, name, expected: null, actual: inode });
      }
      if (expected?.type === 'dir') this.compareCounts(path, expected, actual, entries);
    }
    return [...pairs.values(), ...extra].sort((a, b) => (a.name < b.name ? 1 : -1));
  }

  /** A directory has one name: an image that breaks this could go on for ever. */
  private async enter(path: string, directory: ErofsInode): Promise<DirectoryEntry[]> {
    if (this.directories.has(directory.nid)) {
      throw failure('CORRUPT', path, `inode ${directory.nid}: the directory is in the tree twice`);
    }
    this.directories.add(directory.nid);
    return this.image.readdir(directory);
  }

  /** The link count of a directory; where other directories are in it than should be, that is reported of those. */
  private compareCounts(
    path: string,
    { links }: TreeNode,
    { nlink }: ErofsInode,
    entries: DirectoryEntry[],
  ): void {
    const held = 2 + entries.filter(({ inode }) => inode.type === 'dir').length;
    if (links === held && links !== nlink) this.differences.add(shownPath(path), 'links', links, nlink);
  }
}

/** The root's path is '' where names are appended to it. */
function shownPath(path: string): string {
  return path === '' ? '/' : path;
}

/** Compares which names belong to one file. A group of names is known by the first of them that is on both sides. */
class LinkComparison {
  private readonly expectedNames = new Map<TreeNode, string>();
  private readonly actualNames = new Map<bigint, string>();

  /** True when both sides say that this file was seen before under another name, the same. */
  compare(
    path: string,
    expected: TreeNode,
    actual: ErofsInode,
    report: (field: 'links', expected: string | number, actual: string | number) => void,
  ): boolean {
    const wanted = this.expectedNames.get(expected);
    const found = this.actualNames.get(actual.nid);
    if (wanted === undefined && expected.links > 1) this.expectedNames.set(expected, path);
    if (found === undefined) this.actualNames.set(actual.nid, path);
    if (wanted !== found) report('links', wanted ?? path, found ?? path);
    const isFirst = wanted === undefined && found === undefined;
    if (isFirst && expected.links !== actual.nlink) report('links', expected.links, actual.nlink);
    return !isFirst && wanted === found;
  }
}
