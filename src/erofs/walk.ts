import { setImmediate } from 'node:timers/promises';
import { failure } from '../errors';
import type { Directories } from './directories';
import { DirectoryCursor } from './directory-cursor';
import { NidSet } from './nid-set';
import { corrupt, unsupported, type ErofsInode, type Inode, type InodeTable } from './inode';
import type { Found } from './path-lookup';

const slash = 0x2f;
/** Deeper ones only occur where somebody wants the sum of all paths to be huge. */
const longestPath = 32 << 10; // bytes
/** Entries after which timers and signals get their turn, although everything was in memory. */
const breathEvery = 8192;

/** What a walk comes across. */
export interface WalkEntry {
  /** From the root, e.g. `/usr/bin`. */
  path: Buffer;
  inode: ErofsInode;
}

interface WalkContext {
  name: string;
  inodes: InodeTable;
  directories: Directories;
  imageSize: number;
  signal: AbortSignal | undefined;
}

/**
 * What `find` finds and everything below it, in the order of the whole paths' bytes (so `/a-b` comes between `/a` and `/a/b`). Symlinks are not
 * followed. CORRUPT when a directory is reached twice, or directories take more bytes than the image has: so the work is bounded by the
 * size of the image, whatever it holds.
 */
export async function* walk(
  context: WalkContext,
  find: () => Promise<Found>,
): AsyncGenerator<WalkEntry, void, undefined> {
  const start = await find();
  yield start;
  if (start.inode.type !== 'dir') return;
  const guard = new Guard(context);
  const levels = [await openLevel(context, guard, start)];
  let entries = 0;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const below = level.nextBelow();
    if (below !== undefined) {
      levels.push(await openLevel(context, guard, below));
      continue;
    }
    const { cursor } = level;
    if (cursor.atEnd) {
      levels.pop();
      continue;
    }
    const found = cursor.inode();
    const inode = found instanceof Promise ? await found : found;
    const entry = { path: cursor.path(level.prefix), inode };
    if (inode.type === 'dir') level.pending.push(entry);
    const read = cursor.next();
    if (read !== undefined) await read;
    if (++entries % breathEvery === 0) {
      await setImmediate();
      checkCancelled(context);
    }
    yield entry;
  }
}

function checkCancelled({ signal, name }: WalkContext): void {
  if (signal?.aborted === true) throw failure('CANCELLED', name, 'cancelled');
}

/** A directory that is being walked. */
class Level {
  /** Directories that were passed, but whose contents come later; the last one first. */
  readonly pending: Found[] = [];

  constructor(
    /** At the entry to come. */
    readonly cursor: DirectoryCursor,
    /** The directory's path and a slash. */
    readonly prefix: Buffer,
  ) {}

  /** The directory to go down into now: its paths come before the next entry's. */
  nextBelow(): Found | undefined {
    const last = this.pending.at(-1);
    if (last === undefined) return undefined;
    if (!this.cursor.atEnd) {
      // Names that begin with the directory's, and go on with less than a slash, come before its contents.
      const name = last.path.subarray(this.prefix.length);
      const next = this.cursor.name();
      const after = next[name.length];
      if (after !== undefined && after < slash && next.subarray(0, name.length).equals(name))
        return undefined;
    }
    return this.pending.pop();
  }
}

async function openLevel(context: WalkContext, guard: Guard, { path, inode }: Found): Promise<Level> {
  checkCancelled(context);
  guard.enter(inode, path);
  const prefix = path.length === 1 ? path : Buffer.concat([path, Buffer.from('/')]);
  const { directories, inodes } = context;
  return new Level(await DirectoryCursor.open(directories.parts(inode), inodes), prefix);
}

/** Keeps hostile images from making a walk endless. */
class Guard {
  private readonly seen = new NidSet();
  /** The part of what directories may take together. */
  private taken = 0;

  constructor(private readonly context: WalkContext) {}

  enter(inode: Inode, path: Buffer): void {
    const { name, directories } = this.context;
    if (!this.seen.add(inode.nid)) {
      throw corrupt(name, inode.nid, `the directory ${path.toString()} is in the tree twice`);
    }
    this.taken += inode.size / directories.sizeLimit(inode);
    if (this.taken > 1) throw corrupt(name, inode.nid, 'directories take more bytes than the image has');
    if (path.length > longestPath) {
      throw unsupported(name, inode.nid, `its path is longer than ${longestPath} bytes`);
    }
  }
}
