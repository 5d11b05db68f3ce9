import type { FileType } from '../erofs/inode';
import { showBytes, unescapePath } from '../format/escaped-path';
import type { MergedNode, MergedTree } from './merged-tree';
import { openView, type ViewOptions } from './open-view';
import { lookUp } from '../erofs/tree-lookup';
import { walkTree, type TreeEntry } from '../erofs/tree-walk';
import { checkSubjects } from './subject';
import { checkOptions } from '../options';

/** A file, directory … as `ls` shows it. Bytes outside of printable ASCII, and the backslash, are `\xNN` in paths, targets, xattr names. */
export interface ListedEntry {
  /** From the root. */
  path: string;
  /** Equal for hard links. */
  ino: number;
  type: FileType;
  /** Permission bits in octal, four digits. */
  mode: string;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  /** `SECONDS.NANOSECONDS` since 1970; the seconds are the floor, so 1.5 s before is `-2.500000000`. */
  mtime: string;
  nlink: number;
  /** Of a symlink, else null. */
  target: string | null;
  /** `major:minor` of a device, else null. */
  rdev: string | null;
  /** Values in base64. */
  xattrs: Record<string, string>;
}

/** What listImage() takes. */
export interface ListOptions extends ViewOptions {
  /** Everything below a directory, and itself first; else its children only. */
  recursive?: boolean | undefined;
}

/**
 * Lists a directory, or the one thing at `path` if it is none (of several paths one after the other), without fetching more of the image than its metadata. Sorted by the bytes of
 * the whole paths. NOT_FOUND names a path that is not there; else as openView().
 */
export async function listImage(
  refOrPath: string,
  path: string | readonly string[] = '/',
  options: ListOptions = {},
): Promise<ListedEntry[]> {
  const listed: ListedEntry[] = [];
  for await (const entry of listEntries(refOrPath, path, options)) listed.push(entry);
  return listed;
}

/** As listImage(), entry by entry as they are found: millions take no more memory than thousands. */
export async function* listEntries(
  refOrPath: string,
  path: string | readonly string[] = '/',
  options: ListOptions = {},
): AsyncGenerator<ListedEntry, void, undefined> {
  checkOptions('listEntries', options);
  checkSubjects([refOrPath], options);
  const view = await openView(refOrPath, options);
  try {
    for (const one of typeof path === 'string' ? [path] : path) yield* listTree(view.tree, one, options);
  } finally {
    await view.close();
  }
}

/** Lists from an open tree; `depth` counts levels below `path`. */
export async function* listTree(
  tree: MergedTree,
  path: string,
  {
    recursive = false,
    depth,
    signal,
  }: Pick<ListOptions, 'recursive' | 'signal'> & { depth?: number | undefined },
): AsyncGenerator<ListedEntry, void, undefined> {
  const start = await lookUp(tree, unescapePath(path), false);
  const childrenOnly = !recursive && start.node.inode.type === 'dir';
  for await (const entry of walkTree(tree, start, { signal, depth: recursive ? depth : 1 })) {
    if (childrenOnly && entry.path === start.path) continue;
    yield await describe(tree, entry);
  }
}

async function describe(tree: MergedTree, { path, node }: TreeEntry<MergedNode>): Promise<ListedEntry> {
  const { type, mode, uid, gid, size, mtime, nlink, rdev } = node.inode;
  await tree.checkDataOf(node);
  const target = type === 'symlink' ? showBytes((await tree.readlink(node)).toString('latin1')) : null;
  const xattrs: Record<string, string> = {};
  for (const { name, value } of await tree.xattrs(node)) {
    xattrs[showBytes(name.toString('latin1'))] = value.toString('base64');
  }
  return {
    path: showBytes(path),
    ino: node.ino,
    type,
    mode: mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    size,
    mtime: `${mtime.seconds}.${mtime.nanoseconds.toString().padStart(9, '0')}`,
    nlink,
    target,
    rdev: rdev && `${rdev.major}:${rdev.minor}`,
    xattrs,
  };
}
