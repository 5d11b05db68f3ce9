import type { TarEntry } from '../../native/tar-entries';
import { cleanPath, isWhiteoutName, readTarPath, refuseEntry } from './tar-path';
import { countLinks, type TreeNode } from './tree-node';

/** As containerd follows links while it applies a layer. */
const maxLinksFollowed = 255;
const maxTarget = 4095;
const opaqueXattr = 'trusted.overlay.opaque';

/** What the policy needs to know of a node until the whole tar was read. */
interface Draft extends TreeNode {
  children: Map<string, Draft> | null;
  /** Has an entry of its own in the tar. */
  named: boolean;
  /** Hides what lower layers have here; a marker says so, wherever in the tar it stands. */
  opaque: boolean;
  /** Names that whiteouts in this directory hide in lower layers. */
  hidden: Set<string> | null;
}

/**
 * The tree that the policy for tars (docs/format/tar-policy.md) makes of a tar. Written from the policy alone: the native builder's
 * step from tar to tree, which this checks, shares nothing with it (docs/adr/0011-check-is-an-independent-oracle.md).
 */
export class ExpectedTree {
  private readonly root = directory();

  /** Applies the next entry of the tar. REFUSED names an entry that the policy does not allow. */
  add(entry: TarEntry): void {
    const path = readTarPath(entry.name);
    switch (path.kind) {
      case 'dropped':
        return;
      case 'root':
        if (entry.type !== 'dir') throw refuseEntry(entry.name, 'is the root, but no directory');
        describe(this.root, entry);
        return;
      case 'opaque':
        this.enter(path.folder, entry).opaque = true;
        return;
      case 'whiteout':
        (this.enter(path.folder, entry).hidden ??= new Set()).add(path.name);
        return;
      case 'entry':
        this.place(this.enter(path.folder, entry), path.name, entry);
    }
  }

  /** The tree, once all entries were added. Nothing lies below a bottom layer: what would hide something is left out there. */
  finish(isBottom = false): TreeNode {
    if (isBottom) this.forgetWhiteouts();
    const epoch = mostCommonSecond(this.root);
    for (const folder of directories(this.root)) {
      for (const name of folder.hidden ?? []) hide(folder, name);
      folder.hidden = null;
    }
    if (!this.root.named) this.root.seconds = epoch;
    for (const folder of directories(this.root)) {
      if (folder.opaque) setXattr(folder, opaqueXattr, 'y');
      for (const child of folder.children!.values()) if (!child.named) child.seconds = epoch;
    }
    countLinks(this.root);
    return this.root;
  }

  private forgetWhiteouts(): void {
    for (const folder of directories(this.root)) {
      Object.assign(folder, { hidden: null, opaque: false });
      for (const node of [folder, ...folder.children!.values()]) node.xattrs?.delete(opaqueXattr);
      for (const [name, { type, major, minor }] of folder.children!) {
        if (type === 'char' && major === 0 && minor === 0) folder.children!.delete(name);
      }
    }
  }

  private place(folder: Draft, cut: string, entry: TarEntry): void {
    const { children } = folder;
    // A part of a text keeps all of it in memory: the whole path, for each of millions of names.
    const name = Buffer.from(cut, 'latin1').toString('latin1');
    const existing = children!.get(name);
    if (entry.type === 'hardlink') {
      const target = this.linkTarget(entry);
      if (target.folder === folder && target.name === name) return;
      children!.set(name, target.node);
      describe(target.node, entry);
    } else if (entry.type === 'dir' && existing?.type === 'dir') {
      describe(existing, entry);
    } else {
      const node = entry.type === 'dir' ? directory() : leaf(entry);
      children!.set(name, node);
      describe(node, entry);
    }
  }

  /** What a hard link names: something that is not a directory and came before it. */
  private linkTarget(entry: TarEntry): { folder: Draft; name: string; node: Draft } {
    const refuse = (why: string): Error =>
      refuseEntry(entry.name, `a hard link to '${entry.target}', ${why}`);
    const parts = cleanPath(entry.target);
    const name = parts.pop();
    if (name === undefined) throw refuse('which is the root');
    if (isWhiteoutName(name)) throw refuse('which is a whiteout');
    const folder = this.walk(parts, entry, () => {
      throw refuse('which is not there');
    });
    const node = folder.children!.get(name);
    if (node === undefined) throw refuse('which is not there');
    if (node.type === 'dir') throw refuse('which is a directory');
    return { folder, name, node };
  }

  /** The directory at a path, made where it is missing. */
  private enter(parts: string[], entry: TarEntry): Draft {
    return this.walk(parts, entry, (folder, name) => {
      if (isWhiteoutName(name)) throw refuseEntry(entry.name, 'leads through a whiteout');
      const made = directory();
      folder.children!.set(name, made);
      return made;
    });
  }

  /** Walks to a directory, following symbolic links inside of the root. */
  private walk(parts: string[], entry: TarEntry, missing: (folder: Draft, name: string) => Draft): Draft {
    const trail = [this.root];
    const ahead = [...parts].reverse();
    let followed = 0;
    for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const folder = trail.at(-1)!;
      const next = folder.children!.get(part) ?? missing(folder, part);
      if (next.type === 'dir') {
        trail.push(next);
        continue;
      }
      if (next.type !== 'symlink') throw refuseEntry(entry.name, `'${part}' on its path is no directory`);
      if (++followed > maxLinksFollowed) throw refuseEntry(entry.name, 'leads through too many links');
      if (next.target.startsWith('/')) trail.length = 1;
      ahead.push(...next.target.split('/').reverse());
    }
    return trail.at(-1)!;
  }
}

function directory(): Draft {
  return draft('dir', 0o755, new Map());
}

function draft(type: TreeNode['type'], mode: number, children: Draft['children']): Draft {
  return {
    type,
    mode,
    uid: 0,
    gid: 0,
    seconds: 0n,
    nanoseconds: 0,
    xattrs: null,
    size: 0,
    target: '',
    major: 0,
    minor: 0,
    data: [],
    children,
    links: 0,
    named: false,
    opaque: false,
    hidden: null,
  };
}

/** A node of what is neither a directory nor a hard link, without what describe() sets. */
function leaf(entry: TarEntry): Draft {
  const { type, target, size, data, major, minor } = entry;
  if (type === 'symlink') {
    if (target === '') throw refuseEntry(entry.name, 'is a symbolic link to nothing');
    if (target.length > maxTarget)
      throw refuseEntry(entry.name, `is a symbolic link to ${target.length} bytes`);
  }
  const node = draft(type as TreeNode['type'], type === 'symlink' ? 0o777 : 0, null);
  if (type === 'file') return Object.assign(node, { size, data });
  if (type === 'symlink') return Object.assign(node, { target });
  if (type === 'char' || type === 'block') return Object.assign(node, { major, minor });
  return node;
}

/** Gives a node what an entry says of it; xattrs are added to those that it has. */
function describe(node: Draft, entry: TarEntry): void {
  if (node.type !== 'symlink') node.mode = entry.mode;
  node.uid = entry.uid;
  node.gid = entry.gid;
  node.seconds = entry.seconds;
  node.nanoseconds = entry.nanoseconds;
  node.named = true;
  for (const [name, value] of entry.xattrs) if (isKept(name)) setXattr(node, name, value);
}

/** EROFS can only store these namespaces. */
function isKept(name: string): boolean {
  return /^(user|trusted|security)\../s.test(name) || /^system\.posix_acl_(access|default)$/.test(name);
}

function setXattr(node: Draft, name: string, value: string): void {
  (node.xattrs ??= new Map()).set(name, value);
}

/** A whiteout hides what lower layers have, not what this layer brings: a directory of its own is cut off from theirs instead. */
function hide(folder: Draft, name: string): void {
  const present = folder.children!.get(name);
  if (present === undefined) folder.children!.set(name, draft('char', 0, null));
  else if (present.type === 'dir') present.opaque = true;
}

/** The image's epoch: the commonest second among inodes that have an entry of their own, of equally common ones the smallest. */
function mostCommonSecond(root: Draft): bigint {
  const counts = new Map<bigint, number>();
  const count = ({ named, seconds }: Draft): void => {
    if (named) counts.set(seconds, (counts.get(seconds) ?? 0) + 1);
  };
  count(root);
  for (const node of new Set(directories(root).flatMap(({ children }) => [...children!.values()])))
    count(node);
  let best = 0n;
  let most = 0;
  for (const [second, times] of counts) {
    if (times > most || (times === most && second < best)) [best, most] = [second, times];
  }
  return best;
}

/** All directories of a tree, each before those in it. */
function directories(root: Draft): Draft[] {
  const found = [root];
  for (const { children } of found) {
    for (const child of children!.values()) if (child.type === 'dir') found.push(child);
  }
  return found;
}
