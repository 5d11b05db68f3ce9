import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import { NidMap } from '../../erofs/nid-set';
import { readXattrs } from './compare-inodes';
import { root, type EntryTable } from './entry-table';
import type { TreeNode } from './tree-node';

const entriesPerTurn = 4096;

/** Adds the whole tree of an image, as what another image of it should have. CORRUPT when the image breaks its format. */
export async function addErofsTree(entries: EntryTable, image: ErofsFilesystem): Promise<void> {
  /** The entry of each inode that isn't the root. */
  const nodes = new NidMap();
  let lastFolder = { path: '', entry: root };
  for await (const { path, inode } of image.walk()) {
    const text = path.toString('latin1');
    if (text === '/') {
      entries.add(root, '', 'dir', await readNode(image, inode));
      continue;
    }
    const slash = text.lastIndexOf('/');
    const folder = text.slice(0, slash);
    if (folder !== lastFolder.path) lastFolder = { path: folder, entry: folderAt(entries, folder) };
    const name = text.slice(slash + 1);
    const node = nodes.get(inode.nid);
    if (node !== undefined) entries.addLink(lastFolder.entry, name, node);
    else nodes.set(inode.nid, entries.add(lastFolder.entry, name, inode.type, await readNode(image, inode)));
    if (entries.length % entriesPerTurn === 0) await entries.settle();
  }
  await entries.countNames();
}

/** A directory that was added before. */
function folderAt(entries: EntryTable, path: string): number {
  return path
    .split('/')
    .slice(1)
    .reduce((folder, name) => entries.find(folder, name)!, root);
}

async function readNode(image: ErofsFilesystem, inode: ErofsInode): Promise<TreeNode> {
  const { nid, type, mode, uid, gid, mtime, rdev, size } = inode;
  return {
    nid,
    type,
    mode,
    uid,
    gid,
    size,
    ...mtime,
    ...(rdev ?? { major: 0, minor: 0 }),
    xattrs: await readXattrs(image, inode),
    target: type === 'symlink' ? (await image.readlink(inode)).toString('latin1') : '',
    data: type === 'file' ? await readRanges(image, inode) : [],
  };
}

/** Offsets in the source are those in the file: the image is asked for a file's bytes. */
async function readRanges(image: ErofsFilesystem, inode: ErofsInode): Promise<number[]> {
  const ranges: number[] = [];
  for await (const { offset, length, hole } of image.segments(inode)) {
    if (!hole) ranges.push(offset, offset, length);
  }
  return ranges;
}
