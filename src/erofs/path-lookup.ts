import { failure } from '../errors';
import type { DataReader } from './data';
import type { Directories } from './directories';
import { corrupt, type Inode, type InodeTable } from './inode';

/** As Linux does. */
const mostSymlinks = 40;
const longestTarget = 4095; // bytes
const slash = 0x2f;

/** An inode, and the path without symlinks at which it was found. */
export interface Found {
  path: Buffer;
  inode: Inode;
}

/** What paths are looked up in. */
export interface LookupContext {
  name: string;
  root: Inode;
  inodes: InodeTable;
  directories: Directories;
  data: DataReader;
}

/**
 * Looks a path up from the root, which ".." and symlinks never leave; the last component's symlink is followed if `follow`. NOT_FOUND if
 * there is no such path, FAILED after 40 symlinks.
 */
export async function lookUp(context: LookupContext, path: Uint8Array, follow: boolean): Promise<Found> {
  const walk = new Lookup(context, path);
  await walk.run(follow);
  return walk.result();
}

/** The target of a symlink. CORRUPT when it is longer than Linux allows, or has a NUL. */
export async function readTarget(data: DataReader, inode: Inode): Promise<Buffer> {
  const { area, nid, size } = inode;
  if (size > longestTarget) throw corrupt(area.name, nid, `a symlink target of ${size} bytes`);
  const target = await data.read(inode, 0, size);
  if (target.includes(0)) throw corrupt(area.name, nid, 'a symlink target with a NUL');
  return target;
}

class Lookup {
  /** The directories above, without the root, and what was found last. */
  private trail: { name: Buffer; inode: Inode }[] = [];
  /** What is left to do, the next one last. */
  private readonly rest: Buffer[];
  private symlinks = 0;

  constructor(
    private readonly context: LookupContext,
    private readonly path: Uint8Array,
  ) {
    this.rest = components(path);
  }

  async run(follow: boolean): Promise<void> {
    for (let name = this.rest.pop(); name !== undefined; name = this.rest.pop()) {
      await this.step(name, follow || this.rest.length > 0);
    }
  }

  result(): Found {
    const path = Buffer.concat(this.trail.flatMap(({ name }) => [Buffer.from('/'), name]));
    return { path: path.length === 0 ? Buffer.from('/') : path, inode: this.current() };
  }

  private current(): Inode {
    return this.trail.at(-1)?.inode ?? this.context.root;
  }

  private async step(name: Buffer, follow: boolean): Promise<void> {
    const directory = this.current();
    if (directory.type !== 'dir') throw this.error('NOT_FOUND', `${this.shown()} is no directory`);
    if (name.equals(Buffer.from('.'))) return;
    if (name.equals(Buffer.from('..'))) {
      this.trail.pop();
      return;
    }
    const { inodes, directories, data } = this.context;
    const nid = await directories.lookup(directory, name);
    if (nid === undefined) {
      throw this.error('NOT_FOUND', `there is no ${JSON.stringify(name.toString())} in ${this.shown()}`);
    }
    const inode = await inodes.get(nid);
    if (inode.type === 'symlink' && follow) this.enter(await readTarget(data, inode));
    else this.trail.push({ name, inode });
  }

  private enter(target: Buffer): void {
    if (target.length === 0) throw this.error('NOT_FOUND', `an empty symlink in ${this.shown()}`);
    if (++this.symlinks > mostSymlinks) throw this.error('FAILED', `more than ${mostSymlinks} symlinks`);
    if (target[0] === slash) this.trail = [];
    this.rest.push(...components(target));
  }

  private shown(): string {
    return this.result().path.toString();
  }

  private error(code: 'NOT_FOUND' | 'FAILED', why: string): Error {
    return failure(code, Buffer.from(this.path).toString(), `${why} (in ${this.context.name})`);
  }
}

/** In reverse. A slash at the end asks for a directory, so it stands for ".". */
function components(path: Uint8Array): Buffer[] {
  const bytes = Buffer.from(path);
  const found: Buffer[] = [];
  for (let start = 0; start <= bytes.length;) {
    const end = bytes.indexOf(slash, start);
    const stop = end < 0 ? bytes.length : end;
    if (stop > start) found.push(bytes.subarray(start, stop));
    start = stop + 1;
  }
  if (bytes.at(-1) === slash) found.push(Buffer.from('.'));
  return found.reverse();
}
