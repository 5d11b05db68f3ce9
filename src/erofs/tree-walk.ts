import { setImmediate } from 'node:timers/promises';
import { failure } from '../errors';
import { showBytes } from '../format/escaped-path';
import { corrupt, unsupported } from './inode';
import { NidSet } from './nid-set';
import type { DirectoryPart, EntryReader, NamedNode, TypedNode, WalkedTree } from './tree';

const slash = 0x2f;
/** Deeper ones only occur where somebody wants the sum of all paths to be huge. */
const maxPath = 32 << 10; // bytes
/** After so many entries timers and signals get their turn, although everything was in memory. */
const entriesPerTurn = 8192;

/** What a walk comes across. */
export interface TreeEntry<N> {
  /** From the root, e.g. `/usr/bin`: a byte string. */
  path: string;
  node: N;
}

/** How a walk is limited. */
interface WalkOptions {
  signal?: AbortSignal | undefined;
  /** Levels below `start`; default: all. */
  depth?: number | undefined;
}

/**
 * `start` and everything below it, in the order of the whole paths' bytes (so `/a-b` comes between `/a` and `/a/b`). Symlinks are not
 * followed. CORRUPT when a directory is reached twice, or directories take more bytes than their image has: so the work is bounded by the
 * size of the images, whatever they hold.
 */
export async function* walkTree<N extends TypedNode>(
  tree: WalkedTree<N>,
  start: TreeEntry<N>,
  { signal, depth = Infinity }: WalkOptions = {},
): AsyncGenerator<TreeEntry<N>, void, undefined> {
  yield start;
  const guard = new WalkGuard(tree);
  const levels = await openLevel(tree, guard, start, depth);
  let entries = 0;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    if (signal?.aborted === true) throw failure('CANCELLED', tree.name, 'cancelled');
    const reading = level.lookAhead();
    if (reading !== undefined) await reading;
    const below = level.nextBelow();
    if (below !== undefined) {
      levels.push(...(await openLevel(tree, guard, below, depth - levels.length)));
      continue;
    }
    const entry = level.take();
    if (entry === undefined) {
      levels.pop();
      continue;
    }
    if (++entries % entriesPerTurn === 0) await setImmediate();
    yield entry;
  }
}

/** None when there is nothing to go down into. */
async function openLevel<N extends TypedNode>(
  tree: WalkedTree<N>,
  guard: WalkGuard<N>,
  { path, node }: TreeEntry<N>,
  depth: number,
): Promise<Level<N>[]> {
  if (node.type !== 'dir' || depth <= 0) return [];
  guard.enter(path, node);
  return [new Level(await tree.openDirectory(node), path === '/' ? path : `${path}/`)];
}

/** A directory that is being walked. */
class Level<N extends TypedNode> {
  /** The entry to come, once lookAhead() has found it; null before. */
  private next: NamedNode<N> | undefined | null = null;
  /** Directories that were passed, but whose contents come later; the last one first. */
  private readonly pending: TreeEntry<N>[] = [];

  constructor(
    private readonly entries: EntryReader<N>,
    /** The directory's path and a slash. */
    private readonly prefix: string,
  ) {}

  /** Finds the entry to come; a promise only where it has to be read. */
  lookAhead(): Promise<void> | undefined {
    if (this.next !== null) return undefined;
    const next = this.entries.next();
    if (next instanceof Promise) {
      return next.then((read) => {
        this.next = read;
      });
    }
    this.next = next;
    return undefined;
  }

  /** The directory to go down into now: its paths come before those of the entry to come. */
  nextBelow(): TreeEntry<N> | undefined {
    const last = this.pending.at(-1);
    if (last === undefined) return undefined;
    if (this.next != null) {
      // Names that begin with the directory's, and go on with less than a slash, come before its contents.
      const { name } = this.next;
      const length = last.path.length - this.prefix.length;
      const isBefore = name.length > length && name.charCodeAt(length) < slash;
      if (isBefore && last.path.endsWith(name.slice(0, length))) return undefined;
    }
    return this.pending.pop();
  }

  /** The entry that lookAhead() found. */
  take(): TreeEntry<N> | undefined {
    if (this.next == null) return undefined;
    const { name, node } = this.next;
    const entry = { path: this.prefix + name, node };
    if (node.type === 'dir') this.pending.push(entry);
    this.next = null;
    return entry;
  }
}

/** Keeps hostile images from making a walk endless. */
class WalkGuard<N extends TypedNode> {
  /** Of each image: the directories that were read, and their shares together. */
  private readonly images = new Map<number, { seen: NidSet; taken: number }>();

  constructor(private readonly tree: WalkedTree<N>) {}

  enter(path: string, directory: N): void {
    for (const part of this.tree.directoryParts(directory)) this.enterPart(path, part);
  }

  private enterPart(path: string, { image, layer, nid, share }: DirectoryPart): void {
    if (path.length > maxPath) throw unsupported(image, nid, `its path is longer than ${maxPath} bytes`);
    const known = this.images.get(layer) ?? { seen: new NidSet(), taken: 0 };
    this.images.set(layer, known);
    if (!known.seen.add(nid))
      throw corrupt(image, nid, `the directory ${showBytes(path)} is in the tree twice`);
    known.taken += share;
    if (known.taken > 1) throw corrupt(image, nid, 'directories take more bytes than the image has');
  }
}
