import type { TarEntry } from '../../native/tar-entries';
import { EntryTable, root } from './entry-table';
import { nothing } from './node-record';
import { cleanPath, isWhiteoutName, readTarPath, refuseEntry, whiteoutPrefix } from './tar-path';
import type { NodeAttributes, TreeNode } from './tree-node';

/** As containerd follows links while it applies a layer. */
const maxLinksFollowed = 255;
const maxTarget = 4095;
const opaqueXattr = 'trusted.overlay.opaque';

/** A directory that no entry tells of; its time is the epoch. */
const impliedDirectory = { ...nothing, mode: 0o755 };

/**
 * The tree that the policy for tars (docs/format/tar-policy.md) makes of a tar. Written from the policy alone: the native builder's
 * step from tar to tree, which this checks, shares nothing with it (docs/adr/0011-check-is-an-independent-oracle.md).
 */
export class TarTree {
  /** The folder that was entered last, and by which path: most entries follow one of the same folder. */
  private lastFolder = { path: '', entry: root };

  /**
   * @param entries none yet; closed by whoever gives them
   * @param isBottom nothing lies below the layer: what would hide something is left out
   */
  constructor(
    private readonly entries: EntryTable,
    private readonly isBottom = false,
  ) {
    entries.add(root, '', 'dir', impliedDirectory, false);
  }

  /** Applies the next entry of the tar. REFUSED names an entry that the policy does not allow. */
  add(entry: TarEntry): void {
    const path = readTarPath(entry.name);
    switch (path.kind) {
      case 'dropped':
        return;
      case 'root':
        if (entry.type !== 'dir') throw refuseEntry(entry.name, 'is the root, but no directory');
        this.describe(root, entry);
        return;
      case 'opaque': {
        const folder = this.enter(path.folder, entry);
        if (!this.isBottom) this.entries.setOpaque(folder);
        return;
      }
      case 'whiteout': {
        const folder = this.enter(path.folder, entry);
        if (!this.isBottom) this.mark(folder, whiteoutPrefix + path.name);
        return;
      }
      case 'entry':
        this.place(this.enter(path.folder, entry), path.name, entry);
    }
  }

  /** To be called once, when all entries were added: what the whole tar has to be known for. */
  async finish(): Promise<void> {
    const { entries } = this;
    await entries.removeBuried();
    if (this.isBottom) await entries.forEach(this.dropWhiteoutDevice.bind(this));
    const seconds = await commonestSecond(entries);
    await entries.forEach(this.hide.bind(this));
    await entries.forEach((entry) => {
      if (!entries.isNamed(entries.nodeOf(entry)))
        entries.describe(entry, { ...entries.attributesOf(entry), seconds });
      if (entries.isOpaque(entry)) {
        const attributes = entries.attributesOf(entry);
        entries.describe(entry, { ...attributes, xattrs: new Map([[opaqueXattr, 'y']]) });
      }
    });
    await entries.countNames();
  }

  private dropWhiteoutDevice(entry: number): void {
    const { entries } = this;
    if (entries.typeOf(entry) !== 'char') return;
    const { major, minor } = entries.read(entries.nodeOf(entry));
    if (major === 0 && minor === 0) entries.remove(entry);
  }

  /** A whiteout hides what lower layers have, not what this layer brings: a directory of its own is cut off from theirs instead. */
  private hide(entry: number): void {
    const { entries } = this;
    if (entries.typeOf(entry) !== 'whiteout') return;
    const folder = entries.folderOf(entry);
    const name = entries.nameOf(entry).slice(whiteoutPrefix.length);
    const present = entries.find(folder, name);
    if (present === undefined) entries.add(folder, name, 'char', nothing, false);
    else if (entries.isDirectory(present)) entries.setOpaque(present);
    entries.remove(entry);
  }

  private mark(folder: number, name: string): void {
    if (this.entries.find(folder, name) === undefined) this.entries.add(folder, name, 'whiteout', nothing);
  }

  private place(folder: number, name: string, entry: TarEntry): void {
    const { entries } = this;
    const existing = entries.find(folder, name);
    if (entry.type === 'hardlink') {
      const target = this.linkTarget(entry);
      if (target === existing) return;
      const node = entries.nodeOf(target);
      entries.addLink(folder, name, node);
      this.describe(node, entry);
    } else if (entry.type === 'dir' && existing !== undefined && entries.isDirectory(existing)) {
      this.describe(existing, entry);
      return;
    } else {
      entries.add(folder, name, entry.type, nodeOf(entry, this.attributesOf(entry)));
    }
    // What was replaced may have been on the way to it.
    if (existing !== undefined) this.lastFolder = { path: '', entry: root };
  }

  /** Tells a node what an entry says of it; xattrs are added to those that it has. */
  private describe(node: number, entry: TarEntry): void {
    const attributes = this.attributesOf(entry);
    const isSymlink = this.entries.typeOf(node) === 'symlink';
    this.entries.describe(node, isSymlink ? { ...attributes, mode: symlinkMode } : attributes);
    this.entries.setNamed(node);
  }

  private attributesOf({ type, mode, uid, gid, seconds, nanoseconds, xattrs }: TarEntry): NodeAttributes {
    return {
      mode: type === 'symlink' ? symlinkMode : mode,
      uid,
      gid,
      seconds,
      nanoseconds,
      xattrs: xattrs.length === 0 ? null : this.kept(xattrs),
    };
  }

  private kept(xattrs: TarEntry['xattrs']): Map<string, string> {
    return new Map(xattrs.filter(([name]) => isKept(name) && !(this.isBottom && name === opaqueXattr)));
  }

  /** The entry that a hard link names: of something that is not a directory and came before it. */
  private linkTarget(entry: TarEntry): number {
    const { entries } = this;
    const refuse = (why: string): Error =>
      refuseEntry(entry.name, `a hard link to '${entry.target}', ${why}`);
    const parts = cleanPath(entry.target);
    const name = parts.pop();
    if (name === undefined) throw refuse('which is the root');
    if (isWhiteoutName(name)) throw refuse('which is a whiteout');
    const folder = this.walk(parts, entry, () => {
      throw refuse('which is not there');
    });
    const target = entries.find(folder, name);
    if (target === undefined) throw refuse('which is not there');
    if (entries.isDirectory(target)) throw refuse('which is a directory');
    return target;
  }

  /** The directory at a path, made where it is missing. */
  private enter(parts: string[], entry: TarEntry): number {
    const path = parts.join('/');
    if (path !== this.lastFolder.path) {
      const folder = this.walk(parts, entry, (parent, name) => {
        if (isWhiteoutName(name)) throw refuseEntry(entry.name, 'leads through a whiteout');
        return this.entries.add(parent, name, 'dir', impliedDirectory, false);
      });
      this.lastFolder = { path, entry: folder };
    }
    return this.lastFolder.entry;
  }

  /** Walks to a directory, following symbolic links inside of the root. */
  private walk(parts: string[], entry: TarEntry, missing: (folder: number, name: string) => number): number {
    const { entries } = this;
    const trail: number[] = [root];
    const ahead = [...parts].reverse();
    let followed = 0;
    for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const folder = trail.at(-1)!;
      const found = isWhiteoutName(part) ? undefined : entries.find(folder, part);
      const next = found ?? missing(folder, part);
      if (entries.isDirectory(next)) {
        trail.push(next);
        continue;
      }
      if (entries.typeOf(next) !== 'symlink')
        throw refuseEntry(entry.name, `'${part}' on its path is no directory`);
      if (++followed > maxLinksFollowed) throw refuseEntry(entry.name, 'leads through too many links');
      const target = entries.targetOf(entries.nodeOf(next));
      if (target.startsWith('/')) trail.length = 1;
      ahead.push(...target.split('/').reverse());
    }
    return trail.at(-1)!;
  }
}

const symlinkMode = 0o777;

/** What an entry that is no hard link tells of. Field by field: spreading objects takes several times as long. */
function nodeOf(entry: TarEntry, attributes: NodeAttributes): Omit<TreeNode, 'type'> {
  const { name, type, target, size, data, major, minor } = entry;
  const { mode, uid, gid, seconds, nanoseconds, xattrs } = attributes;
  const isFile = type === 'file';
  const isSymlink = type === 'symlink';
  const isDevice = type === 'char' || type === 'block';
  if (isSymlink && target === '') throw refuseEntry(name, 'is a symbolic link to nothing');
  if (isSymlink && target.length > maxTarget)
    throw refuseEntry(name, `is a symbolic link to ${target.length} bytes`);
  return {
    mode,
    uid,
    gid,
    seconds,
    nanoseconds,
    xattrs,
    size: isFile ? size : 0,
    target: isSymlink ? target : '',
    major: isDevice ? major : 0,
    minor: isDevice ? minor : 0,
    data: isFile ? data : nothing.data,
    nid: 0n,
  };
}

/** EROFS can only store these namespaces. */
function isKept(name: string): boolean {
  return /^(user|trusted|security)\../s.test(name) || /^system\.posix_acl_(access|default)$/.test(name);
}

/** The image's epoch: the commonest second among inodes that have an entry of their own, of equally common ones the smallest. */
async function commonestSecond(entries: EntryTable): Promise<bigint> {
  const seconds = new BigInt64Array(entries.length);
  let count = 0;
  await entries.forEach((entry) => {
    const node = entries.nodeOf(entry);
    // A node whose own name was removed counts with its first link.
    const isFirst = node === entry || (entries.isRemoved(node) && entries.see(node));
    if (isFirst && entries.typeOf(node) !== 'whiteout' && entries.isNamed(node))
      seconds[count++] = entries.secondsOf(node);
  });
  const sorted = seconds.subarray(0, count).sort();
  let [best, most, times] = [0n, 0, 0];
  sorted.forEach((second, i) => {
    times = second === sorted[i - 1] ? times + 1 : 1;
    if (times > most) [best, most] = [second, times];
  });
  return best;
}
