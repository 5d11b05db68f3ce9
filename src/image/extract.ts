import { unescapePath } from '../format/escaped-path';
import { native, type NativeTreeWriter, type NewEntry } from '../native/binding';
import { runNative } from '../native/run';
import { resourcesOf } from '../layer/resources';
import { ExtractNotices } from './extract-notices';
import { newEntry, ParcelMaker, type Parcel } from './extract-parcel';
import { openExtractTarget, type ExtractTarget } from './extract-target';
import type { MergedTree } from './merged-tree';
import { withView, type View, type ViewOptions } from './open-view';
import { lookUp, type FoundNode } from './tree-lookup';
import { walkTree, type TreeEntry } from './tree-walk';

/** What extractImage() takes. */
export interface ExtractOptions extends ViewOptions {
  /** Only these and what is below them; default: all. */
  paths?: readonly string[] | undefined;
  /** Extract into a folder that is not empty: files and links in the way are replaced, folders are kept. */
  force?: boolean | undefined;
}

/** What was extracted. */
export interface Extracted {
  /** Files, directories … that were asked for and made; the root counts when all was. */
  entries: number;
  /** In files; of a file with several names once. */
  bytes: number;
}

/**
 * Makes the tree of an image or a layer in the folder `dir`, which must be absent or empty unless `force`. Restores modes, times, xattrs,
 * hard links and holes; owners and devices as root. What this user can't restore is a warning. Nothing is written outside of `dir`,
 * whatever the image's links say. A new folder appears when it is complete.
 */
export function extractImage(
  refOrPath: string,
  dir: string,
  options: ExtractOptions = {},
): Promise<Extracted> {
  return withView(refOrPath, options, async (view) => {
    const { tree } = view;
    const parts = await findParts(tree, options.paths ?? ['/']);
    const target = await openExtractTarget(dir, options.force ?? false);
    const extraction = new Extraction(view, target, options);
    try {
      const extracted = await extraction.run(parts);
      await target.commit();
      return extracted;
    } catch (error) {
      extraction.abandon();
      await target.discard();
      throw error;
    }
  });
}

/** The parts that are asked for, none within another, in the order of their paths. */
async function findParts(tree: MergedTree, paths: readonly string[]): Promise<FoundNode[]> {
  const found: FoundNode[] = [];
  for (const path of paths) found.push(await lookUp(tree, unescapePath(path), false));
  found.sort((a, b) => (a.path < b.path ? -1 : 1));
  const names = new Set<string>();
  return found.filter(({ path }) => {
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (names.has(path.slice(0, end))) return false;
    }
    if (path !== '/' && names.has('/')) return false;
    names.add(path);
    return true;
  });
}

const progressInterval = 100; // milliseconds
/** Parcels that are fetched while one is written; two for each thread are enough to keep all busy. */
const mostAhead = 16;
/** Folders that are finished by one native call. */
const folderBatch = 512;

/** One run: entries become parcels, whose bytes are fetched ahead while others are written. */
class Extraction {
  private readonly tree: MergedTree;
  private readonly writer: NativeTreeWriter;
  private readonly maker: ParcelMaker;
  private readonly notices = new ExtractNotices();
  private readonly extracted = { entries: 0, bytes: 0 };
  /** In the order in which they were made; they get their attributes in reverse. */
  private readonly folders: TreeEntry[] = [];
  private readonly madeFolders = new Set<string>(['/']);
  private reportedAt = 0;

  constructor(
    view: View,
    target: ExtractTarget,
    private readonly options: ExtractOptions,
  ) {
    const owners = process.geteuid?.() === 0;
    this.writer = new native.TreeWriter(target, { replace: options.force ?? false, owners });
    this.tree = view.tree;
    this.maker = new ParcelMaker(view);
  }

  async run(parts: readonly FoundNode[]): Promise<Extracted> {
    const ahead = Math.min(2 * resourcesOf(this.options).threads, mostAhead);
    for await (const { entries } of fetchAhead(this.parcels(parts), ahead)) await this.write(entries);
    await this.finishFolders();
    for (const line of this.notices.lines()) this.options.onWarning?.(line);
    const { entries, bytes } = this.extracted;
    return { entries: entries - this.notices.missing, bytes };
  }

  abandon(): void {
    this.writer.abandon();
  }

  private async *parcels(parts: readonly FoundNode[]): AsyncGenerator<Parcel, void, undefined> {
    for (const part of parts) {
      for (const parent of this.parentsOf(part)) await this.maker.add(parent);
      for await (const entry of walkTree(this.tree, part, this.options)) {
        this.extracted.entries++;
        if (entry.node.inode.type === 'dir') this.folders.push(entry);
        if (entry.path !== '/') await this.maker.add(entry);
        for (const parcel of this.maker.take()) yield parcel;
      }
    }
    for (const parcel of this.maker.take(true)) yield parcel;
  }

  /** The folders on the way to a part that were not made yet. */
  private parentsOf({ path, parents }: FoundNode): TreeEntry[] {
    const names = path.split('/');
    const missing = parents
      .map((node, level) => ({ path: names.slice(0, level + 1).join('/') || '/', node }))
      .filter((entry) => !this.madeFolders.has(entry.path));
    for (const entry of missing) this.madeFolders.add(entry.path);
    this.folders.push(...missing);
    return missing;
  }

  private async write(entries: NewEntry[]): Promise<void> {
    this.notices.add(await this.runWriter((job) => this.writer.write(entries, job)));
    for (const { kind, ends, size = 0 } of entries)
      if (kind === 'file' && ends === true) this.extracted.bytes += size;
    this.report();
  }

  private async finishFolders(): Promise<void> {
    this.folders.reverse();
    for (let start = 0; start < this.folders.length; start += folderBatch) {
      const batch: NewEntry[] = [];
      for (const { path, node } of this.folders.slice(start, start + folderBatch)) {
        batch.push(await newEntry(this.tree, path.slice(1), node));
      }
      this.notices.add(await this.runWriter((job) => this.writer.finishFolders(batch, job)));
    }
  }

  private runWriter<T>(call: Parameters<typeof runNative<T>>[1]): Promise<T> {
    return runNative({ signal: this.options.signal }, call);
  }

  private report(): void {
    if (performance.now() - this.reportedAt < progressInterval) return;
    this.reportedAt = performance.now();
    this.options.onProgress?.({ phase: 'extract', done: this.extracted.bytes, total: 0, unit: 'bytes' });
  }
}

/** Parcels with their bytes, of which up to `count` are made and fetched before they are needed. */
async function* fetchAhead(
  source: AsyncGenerator<Parcel, void, undefined>,
  count: number,
): AsyncGenerator<Parcel, void, undefined> {
  const ahead: Promise<Parcel | null>[] = [];
  try {
    for (;;) {
      while (ahead.length <= count) {
        const next = source.next().then(fetchNext);
        next.catch(() => undefined); // whoever comes to it gets the error
        ahead.push(next);
      }
      const parcel = await ahead.shift()!;
      if (parcel === null) return;
      yield parcel;
    }
  } finally {
    await source.return();
  }
}

async function fetchNext({ done, value }: IteratorResult<Parcel, void>): Promise<Parcel | null> {
  if (done === true) return null;
  await value.fetch();
  return value;
}
