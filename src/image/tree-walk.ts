import { setImmediate } from 'node:timers/promises';
import { failure } from '../errors';
import type { MergedNode, MergedTree } from './merged-tree';
import { showBytes } from './tree-node';

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

/** What comes next of a directory: one of its entries, or the contents of one. */
interface Step extends TreeEntry {
  /** A part of the path that puts all steps of a directory in order. */
  key: string;
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
  const levels = [await stepsInto(tree, guard, start, depth)];
  let entries = 0;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    if (signal?.aborted === true) throw failure('CANCELLED', tree.name, 'cancelled');
    const step = level.pop();
    if (step === undefined) {
      levels.pop();
    } else if (step.key.endsWith('/')) {
      levels.push(await stepsInto(tree, guard, step, depth - levels.length));
    } else {
      if (++entries % breathEvery === 0) await setImmediate();
      yield { path: step.path, node: step.node };
    }
  }
}

/** The steps of a directory, the first one last. */
async function stepsInto(
  tree: MergedTree,
  guard: Guard,
  { path, node }: TreeEntry,
  depth: number,
): Promise<Step[]> {
  if (node.inode.type !== 'dir' || depth <= 0) return [];
  guard.enter(path, node);
  const prefix = path === '/' ? path : `${path}/`;
  const steps: Step[] = [];
  for (const { name, node: child } of await tree.readdir(node)) {
    const entry = { path: prefix + name, node: child };
    steps.push({ key: name, ...entry });
    // No name has a slash: the key of a directory's contents is where its paths belong.
    if (child.inode.type === 'dir') steps.push({ key: `${name}/`, ...entry });
  }
  return steps.sort((a, b) => (a.key < b.key ? 1 : -1));
}

/** Keeps hostile images from making a walk endless. */
class Guard {
  private readonly seen = new Set<string>();
  /** Of each layer, the bytes of directories that were read. */
  private readonly bytes = new Map<number, number>();

  constructor(private readonly tree: MergedTree) {}

  enter(path: string, { parts }: MergedNode): void {
    if (path.length > longestPath) {
      throw failure('UNSUPPORTED', this.tree.name, `a path is longer than ${longestPath} bytes`);
    }
    for (const part of parts) {
      const { layer, inode } = part;
      const key = `${layer} ${inode.nid}`;
      if (this.seen.has(key)) throw this.corrupt(`the directory ${showBytes(path)} is in the tree twice`);
      this.seen.add(key);
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
