import type { InputFile } from '../../fs/same-file';
import type { JobOptions } from '../../job';
import { native, type NativeTreeWriter } from '../../native/binding';
import { runNative } from '../../native/run';
import { resourcesOf } from '../../layer/resources';
import { EntryColumns } from './columns';
import { Lanes } from './lanes';
import { ExtractNotices } from './notices';
import { addDetails, extractEntry, ParcelMaker, type Parcel } from './parcel';
import { clearExtractDrafts } from './drafts';
import { refuseReplacedInputs } from './inputs';
import { openExtractTarget, type ExtractTarget } from './target';
import type { MergedNode, MergedTree } from '../merged-tree';
import { withView, type View, type ViewOptions } from '../open-view';
import type { FoundNode } from '../../erofs/tree-lookup';
import { findMatching } from '../path-pattern';
import { walkTree, type TreeEntry } from '../../erofs/tree-walk';
import { checkSubjects } from '../subject';
import { checkOptions } from '../../options';

/** What extractImage() takes. */
export interface ExtractOptions extends ViewOptions {
  /** Only these and what is below them, or what they match as patterns (`*`, `?`, `[a-z]`, `**`); default: all. */
  paths?: readonly string[] | undefined;
  /** Extract into a folder that is not empty: files and links in the way are replaced, folders are kept. */
  force?: boolean | undefined;
  /** Files that are read besides, such as the descriptor's: no entry must take their place either. */
  inputs?: readonly string[] | undefined;
}

/** What was extracted. */
export interface Extracted {
  /** Files, directories … that were asked for and made; the root counts when all was. */
  entries: number;
  /** In files; of a file with several names once. */
  bytes: number;
}

/**
 * Makes the tree of an image or a layer in the folder `dir`, which must be absent or empty unless `force`, and then hold no file that is read and that
 * an entry would replace. Restores modes, times, xattrs,
 * hard links and holes; owners and devices as root. What this user can't restore is a warning. Nothing is written outside of `dir`,
 * whatever the image's links say. A new folder appears when it is complete.
 */
export async function extractImage(
  refOrPath: string,
  dir: string,
  options: ExtractOptions = {},
): Promise<Extracted> {
  checkOptions('extractImage', options);
  checkSubjects([refOrPath], options);
  return withView(refOrPath, options, async (view) => {
    const { tree } = view;
    const parts = await findParts(tree, options.paths ?? ['/']);
    if (options.force === true) await refuseReplacedInputs(dir, inputsOf(view, options), { tree, parts });
    await clearExtractDrafts(dir);
    const target = openExtractTarget(dir, options.force ?? false);
    const extraction = new Extraction(view, target, options);
    try {
      const extracted = await extraction.run(parts);
      target.commit();
      return extracted;
    } catch (error) {
      await extraction.abandon();
      throw error;
    }
  });
}

function inputsOf(view: View, { inputs = [], authFile }: ExtractOptions): InputFile[] {
  const others = authFile === undefined ? inputs : [...inputs, authFile];
  return [...view.inputs, ...others.map((path) => ({ path }))];
}

/** The parts that are asked for, none within another, in the order of their paths. */
async function findParts(tree: MergedTree, paths: readonly string[]): Promise<FoundNode<MergedNode>[]> {
  const found: FoundNode<MergedNode>[] = [];
  for (const path of paths) found.push(...(await findMatching(tree, path)));
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
const maxAhead = 16;
/** Folders that are finished by one native call. */
const folderBatch = 512;

/** One run: entries become parcels, whose bytes are fetched ahead while others are written. */
class Extraction {
  private readonly tree: MergedTree;
  private readonly writer: NativeTreeWriter;
  private readonly maker: ParcelMaker;
  private readonly lanes: Lanes;
  private readonly notices = new ExtractNotices();
  private readonly extracted = { entries: 0, bytes: 0 };
  /** In the order in which they were made; they get their attributes in reverse. */
  private readonly folders: TreeEntry<MergedNode>[] = [];
  private readonly madeFolders = new Set<string>(['/']);
  private reportedAt = 0;

  constructor(
    view: View,
    private readonly target: ExtractTarget,
    private readonly options: ExtractOptions,
  ) {
    const owners = process.geteuid?.() === 0;
    this.writer = new native.TreeWriter(target, { replace: options.force ?? false, owners });
    this.tree = view.tree;
    this.maker = new ParcelMaker(view);
    this.lanes = new Lanes(resourcesOf(options).threads, options.signal);
  }

  async run(parts: readonly FoundNode<MergedNode>[]): Promise<Extracted> {
    const ahead = Math.min(2 * resourcesOf(this.options).threads, maxAhead);
    for await (const parcel of fetchAhead(this.parcels(parts), ahead)) await this.write(parcel);
    await this.lanes.drain();
    for (const links of this.maker.takeLinks()) await this.write(links);
    await this.lanes.drain();
    await this.finishFolders();
    for (const line of this.notices.lines()) this.options.onWarning?.(line);
    const { entries, bytes } = this.extracted;
    return { entries: entries - this.notices.missing, bytes };
  }

  /**
   * After a failure: nothing is written any more when it resolves, and what was made is gone, unless it is among things that were there
   * before. What can't be removed is a warning: the failure is what the caller has to know.
   */
  async abandon(): Promise<void> {
    await this.lanes.stop();
    try {
      if (this.target.wasFilled) this.writer.abandon();
      else await runNative({}, (job) => this.writer.removeMade(job));
      this.target.discard();
    } catch (error) {
      const { message } = error as Error;
      this.options.onWarning?.(`${message}: not all that was made could be removed`);
    }
  }

  private async *parcels(parts: readonly FoundNode<MergedNode>[]): AsyncGenerator<Parcel, void, undefined> {
    for (const part of parts) {
      for (const parent of this.parentsOf(part)) await this.maker.add(parent);
      for await (const entry of walkTree(this.tree, part, this.options)) {
        this.extracted.entries++;
        if (entry.node.inode.type === 'dir') this.folders.push(entry);
        const reading = entry.path === '/' ? undefined : this.maker.add(entry);
        if (reading !== undefined) await reading;
        if (this.maker.hasFull()) yield* this.maker.take();
      }
    }
    yield* this.maker.take(true);
  }

  /** The folders on the way to a part that were not made yet. */
  private parentsOf({ path, parents }: FoundNode<MergedNode>): TreeEntry<MergedNode>[] {
    const names = path.split('/');
    const missing = parents
      .map((node, level) => ({ path: names.slice(0, level + 1).join('/') || '/', node }))
      .filter((entry) => !this.madeFolders.has(entry.path));
    for (const entry of missing) this.madeFolders.add(entry.path);
    this.folders.push(...missing);
    return missing;
  }

  /** Makes the parcel's folders, and begins with what is in them. */
  private async write({ folders, others, isPart, fileBytes }: Parcel): Promise<void> {
    if (folders.count > 0) await this.lanes.alone((options) => this.writeColumns(folders, options));
    if (isPart) await this.lanes.drain();
    await this.lanes.start(async (options) => {
      await this.writeColumns(others, options);
      this.extracted.bytes += fileBytes;
      this.report();
    });
    if (isPart) await this.lanes.drain();
  }

  private async writeColumns(columns: EntryColumns, options: JobOptions): Promise<void> {
    this.notices.add(await runNative(options, (job) => this.writer.write(columns.parcel(), job)));
  }

  private async finishFolders(): Promise<void> {
    this.folders.reverse();
    for (let start = 0; start < this.folders.length; start += folderBatch) {
      const batch = new EntryColumns();
      for (const { path, node } of this.folders.slice(start, start + folderBatch)) {
        const entry = extractEntry(path.slice(1), node);
        if (node.inode.hasXattrs) await addDetails(this.tree, node, entry);
        batch.add(entry);
      }
      const { signal } = this.options;
      this.notices.add(await runNative({ signal }, (job) => this.writer.finishFolders(batch.parcel(), job)));
    }
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
