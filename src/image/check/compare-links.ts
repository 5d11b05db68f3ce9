import type { ErofsInode } from '../../erofs/inode';
import { NidMap, NidSet } from '../../erofs/nid-set';
import { words } from './columns';
import { root, type EntryTable } from './entry-table';

type Report = (field: 'links', expected: string | number, actual: string | number) => void;

/** A name of a file that says it has one only. No file is the root. */
const unknown = root;

/** A path that is on both sides. */
interface ExpectedName {
  entry: number;
  /** The node behind the entry. */
  node: number;
  path: string;
}

/** Compares which names belong to one file. A group of names is known by the first of them that is on both sides: the number of its entry. */
export class LinkComparison {
  private readonly expectedNames = words();
  /** Of files that either side says have several. */
  private readonly actualNames = new NidMap();
  private readonly seen = new NidSet();

  constructor(private readonly entries: EntryTable) {}

  /** True when both sides say that this file was seen before under another name, the same. Not for directories. */
  compare({ entry, node, path }: ExpectedName, { nid, nlink }: ErofsInode, report: Report): boolean {
    const links = this.entries.linksOf(node);
    const wanted = this.expectedNames.get(node) || undefined;
    const isNew = this.seen.add(nid);
    const found = isNew ? undefined : (this.actualNames.get(nid) ?? unknown);
    if (wanted === undefined && links > 1) this.expectedNames.set(node, entry);
    if (isNew && (links > 1 || nlink > 1)) this.actualNames.set(nid, entry);
    if (wanted !== found) report('links', this.show(wanted, path), this.show(found, path));
    const isFirst = wanted === undefined && found === undefined;
    if (isFirst && links !== nlink) report('links', links, nlink);
    return !isFirst && wanted === found;
  }

  private show(first: number | undefined, path: string): string {
    if (first === undefined) return path;
    return first === unknown ? 'another path' : this.entries.pathOf(first);
  }
}
