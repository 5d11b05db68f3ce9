import type { ErofsFilesystem } from '../erofs/filesystem';
import type { ErofsInode } from '../erofs/inode';
import type { Xattr } from '../erofs/xattr';
import { showBytes } from '../format/escaped-path';
import { brokenRule } from './composition';
import { isMetacopy, redirectOf } from './overlay-rules';

/*
 * Where the data of files lies that are metadata alone (`trusted.overlay.metacopy`), and which lower folders a renamed one goes on in
 * (`trusted.overlay.redirect`): as overlayfs with metacopy=on follows them (kernel: Documentation/filesystems/overlayfs.rst). That is
 * done for images with layers of role `overlay-data` only.
 */

/** A directory or file of one layer. */
export interface Part {
  /** The layer's number, from the bottom. */
  layer: number;
  inode: ErofsInode;
}

/** What of a stack of layers is asked. */
export interface LayerStack {
  /** The root of each layer, from the top. */
  roots: readonly Part[];
  /** Data-only layers, in the order in which they are asked. */
  data: readonly { name: string; filesystem: ErofsFilesystem }[];
  filesystemOf: (part: Part) => ErofsFilesystem;
  /** Whether what a directory has under a name hides what is below. */
  isWhiteout: (directory: Part, part: Part) => boolean | Promise<boolean>;
  isOpaque: (directory: Part) => Promise<boolean>;
}

/** A name in a merged directory. */
export interface Place {
  /** The directory in each layer that has it, from the top. */
  directories: readonly Part[];
  /** A byte string. */
  name: string;
}

/** What was found at a place. */
interface Found {
  /** From the top. */
  parts: Part[];
  /** The path, from the root, that the last redirect leads to; null when that was relative, or there was none. */
  target: string | null;
}

/** What the layers have at a place, redirects followed. CORRUPT for one that no kernel follows. */
export async function followRedirects(stack: LayerStack, place: Place): Promise<Found> {
  const found: Found = { parts: [], target: null };
  let { directories, name: path } = place;
  for (let i = 0; i < directories.length; i++) {
    const { part, isLast } = await step(stack, directories[i]!, path);
    if (part !== undefined && !isWayBlocked(found, part)) {
      found.parts.push(part);
      const redirect = await redirectAt(stack, part);
      if (redirect === undefined) return found;
      if (redirect?.startsWith('/')) {
        found.target = path = redirect;
        directories = stack.roots.filter(({ layer }) => layer < part.layer);
        i = -1;
      } else if (redirect !== null) {
        path = path.slice(0, path.lastIndexOf('/') + 1) + redirect;
        found.target &&= path;
      }
    } else if (part !== undefined) return found;
    if (isLast) return found;
  }
  return found;
}

/** A file does not go on in a directory, nor the other way round. */
function isWayBlocked({ parts: [first] }: Found, part: Part): boolean {
  return first !== undefined && (first.inode.type === 'dir') !== (part.inode.type === 'dir');
}

/** Goes down a path in one layer. `isLast`: no lower layer is asked any more. */
async function step(stack: LayerStack, start: Part, path: string): Promise<{ part?: Part; isLast: boolean }> {
  let part = start;
  let isLast = false;
  const names = path.split('/').filter((name) => name !== '');
  for (const [i, name] of names.entries()) {
    if (part.inode.type !== 'dir') return { isLast: true };
    const inode = await stack.filesystemOf(part).lookup(part.inode, Buffer.from(name, 'latin1'));
    if (inode === undefined) return { isLast };
    const next = { layer: part.layer, inode };
    if (await stack.isWhiteout(part, next)) return { isLast: true };
    part = next;
    if (i + 1 < names.length && part.inode.type === 'dir') isLast ||= await stack.isOpaque(part);
  }
  return { part, isLast };
}

/** Where a part goes on below; null: at the same path; undefined: nowhere. */
async function redirectAt(stack: LayerStack, part: Part): Promise<string | null | undefined> {
  const { inode } = part;
  const xattrs = inode.hasXattrs ? await stack.filesystemOf(part).xattrs(inode) : [];
  const isDirectory = inode.type === 'dir';
  if (isDirectory ? await stack.isOpaque(part) : inode.type !== 'file' || !isMetacopy(xattrs))
    return undefined;
  const redirect = redirectOf(xattrs);
  if (redirect === null || isValidRedirect(redirect)) return redirect;
  const why = `its redirect "${showBytes(redirect)}" is no name and no path from the root`;
  throw brokenRule(`inode ${inode.nid}`, 'data-redirect', why);
}

/** A path from the root, or a name: without empty parts. */
function isValidRedirect(redirect: string): boolean {
  const parts = redirect.split('/');
  return redirect.startsWith('/')
    ? parts.slice(1).every((name) => name !== '')
    : parts.length === 1 && redirect !== '';
}

/** The data of a file. */
export interface DataPart {
  filesystem: ErofsFilesystem;
  inode: ErofsInode;
}

/**
 * Where the data of a file lies. CORRUPT when it is metadata alone, and none of the layers has its data, or data of another length.
 * @param xattrs of the file
 */
export async function dataOf(
  stack: LayerStack,
  part: Part,
  xattrs: readonly Xattr[],
  place: Place,
): Promise<DataPart> {
  if (!isMetacopy(xattrs)) return { filesystem: stack.filesystemOf(part), inode: part.inode };
  const what = `file "${showBytes(place.name)}"`;
  if (stack.data.length === 0) {
    const why = 'it is metadata alone, and the image has no layer of role overlay-data';
    throw brokenRule(what, 'data-redirect', why);
  }
  const { parts, target } = await followRedirects(stack, place);
  const data = (await lowerData(stack, parts)) ?? (target && (await findData(stack, target)));
  if (!data) {
    const why = `it is metadata alone, and no layer has its data${target === null ? '' : ` (${showBytes(target)})`}`;
    throw brokenRule(what, 'data-redirect', why);
  }
  if (data.inode.size === part.inode.size) return data;
  const why = `it has ${part.inode.size} bytes, but its data ${data.inode.size}`;
  throw brokenRule(what, 'data-redirect', why);
}

/** A layer below may have the file whole. */
async function lowerData(stack: LayerStack, parts: readonly Part[]): Promise<DataPart | null> {
  const last = parts.length > 1 ? parts.at(-1)! : null;
  if (last?.inode.type !== 'file') return null;
  const filesystem = stack.filesystemOf(last);
  const xattrs = last.inode.hasXattrs ? await filesystem.xattrs(last.inode) : [];
  return isMetacopy(xattrs) ? null : { filesystem, inode: last.inode };
}

/** A regular file of the data-only layers; symbolic links are not followed. */
async function findData({ data }: LayerStack, path: string): Promise<DataPart | null> {
  for (const { filesystem } of data) {
    let inode: ErofsInode | undefined = await filesystem.lstat('/');
    for (const name of path.split('/').slice(1)) {
      if (inode?.type !== 'dir') inode = undefined;
      if (inode === undefined) break;
      inode = await filesystem.lookup(inode, Buffer.from(name, 'latin1'));
    }
    if (inode?.type === 'file') return { filesystem, inode };
  }
  return null;
}
