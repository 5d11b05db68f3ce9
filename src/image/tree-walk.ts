import { setImmediate } from 'node:timers/promises';
import { failure } from '../errors';
import { NidSet } from '../erofs/nid-set';
import type { MergedEntry, MergedNode, MergedTree } from './merged-tree';
import { showBytes } from './tree-node';

const slash = 0x2f;
/** Deeper ones only occur where somebody wants the sum of all paths to be huge. */
const longestPath = 32 << 10; // bytes
/** Compression helps the names of directories by far less. */
const bestCompression = 64;
/** Entries after which timers and signals get their turn, although everything was in memory. */
const breathEvery = 8192;

/** What a walk comes across. */
export interface TreeEntry {
  /** From the root, e.g. `/usr/bin`: a byte string. */
  path: string;
  node: MergedNode;
}

/** How a walk is limited. */
export interface WalkOptions {
  signal?: AbortSignal | undefined;
  /** Levels below `start`; default: all. */
  depth?: number | undefined;
}

/**
 * `start` and everything below it, in the order of the whole paths' bytes (so `/a-b` comes between `/a` and `/a/b`). Symlinks are not
 * followed. CORRUPT when a directory is reached twice, or directories take more bytes than an image can have.
 */
export async function* walkTree(
  tree: MergedTree,
  start: TreeEntry,
  { signal, depth = Infinity }: WalkOptions = {},
): AsyncGenerator<TreeEntry, void, undefined> {
  const guard = new Guard(tree);
  yield start;
  const levels = await openLevel(tree, guard, start, depth);
  let entries = 0;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    if (signal?.aborted === true) throw failure('CANCELLED', tree.name, 'cancelled');
    const below = level.nextBelow();
    if (below !== undefined) {
      levels.push(...(await openLevel(tree, guard, below, depth - levels.length)));
      continue;
    }
    const entry = await level.take();
    if (entry === undefined) {
      levels.pop();
      continue;
    }
    if (++entries % breathEvery === 0) await setImmediate();
    yield entry;
  }
}

/** A directory that is being walked. */
class Level {
  /** Directories that were passed, but whose contents come later; the last one first. */
  private readonly pending: TreeEntry[] = [];

  private constructor(
    private readonly entries: AsyncGenerator<MergedEntry, void, undefined>,
    /** The directory's path and a slash. */
    private readonly prefix: string,
    /** The entry to come. */
    private next: MergedEntry | undefined,
  ) {}

  static async open(tree: MergedTree, { path, node }: TreeEntry): Promise<Level> {
    const entries = tree.readdir(node);
    return new Level(entries, path === '/' ? path : `${path}/`, await following(entries));
  }

  /** The next entry, and on to the one behind it. */
  async take(): Promise<TreeEntry | undefined> {
    if (this.next === undefined) return undefined;
    const { name, node } = this.next;
    const entry = { path: this.prefix + name, node };
    if (node.inode.type === 'dir') this.pending.push(entry);
    this.next = await following(this.entries);
    return entry;
  }

  /** The directory to go down into now: its paths come before the next entry's. */
  nextBelow(): TreeEntry | undefined {
    const last = this.pending.at(-1);
    if (last === undefined) return undefined;
    if (this.next !== undefined) {
      // Names that begin with the directory's, and go on with less than a slash, come before its contents.
      const { name } = this.next;
      const length = last.path.length - this.prefix.length;
      const isBefore = name.length > length && name.charCodeAt(length) < slash;
      if (isBefore && last.path.endsWith(name.slice(0, length))) return undefined;
    }
    return this.pending.pop();
  }
}

async function following(
  entries: AsyncGenerator<MergedEntry, void, undefined>,
): Promise<MergedEntry | undefined> {
  const { done, value } = await entries.next();
  return done === true ? undefined : value;
}

/** None when there is nothing to go down into. */
async function openLevel(tree: MergedTree, guard: Guard, entry: TreeEntry, depth: number): Promise<Level[]> {
  if (entry.node.inode.type !== 'dir' || depth <= 0) return [];
  guard.enter(entry.path, entry.node);
  return [await Level.open(tree, entry)];
}

/** Keeps hostile images from making a walk endless. */
class Guard {
  /** Of each layer, the directories that were read. */
  private readonly seen = new Map<number, NidSet>();
  /** Of each layer, the bytes of directories that were read. */
  private readonly bytes = new Map<number, number>();

  constructor(private readonly tree: MergedTree) {}

  enter(path: string, { parts }: MergedNode): void {
    if (path.length > longestPath) {
      throw failure('UNSUPPORTED', this.tree.name, `a path is longer than ${longestPath} bytes`);
    }
    for (const part of parts) {
      const { layer, inode } = part;
      const seen = this.seen.get(layer) ?? new NidSet();
      this.seen.set(layer, seen);
      if (!seen.add(inode.nid)) throw this.corrupt(`the directory ${showBytes(path)} is in the tree twice`);
      const bytes = (this.bytes.get(layer) ?? 0) + inode.size;
      this.bytes.set(layer, bytes);
      if (bytes > bestCompression * this.tree.imageSize(part)) {
        throw this.corrupt('directories take more bytes than the image has');
      }
    }
  }

  private corrupt(why: string): Error {
    return failure('CORRUPT', this.tree.name, why);
  }
}
