import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import { readXattrs } from './compare-inodes';
import { countLinks, type TreeNode } from './tree-node';

/** The tree of an image, with the inode behind each node. */
interface ErofsTreeNodes {
  root: TreeNode;
  inodes: Map<TreeNode, ErofsInode>;
}

/** Reads the whole tree of an image, as what another image of it should have. CORRUPT when the image breaks its format. */
export async function readErofsTree(image: ErofsFilesystem): Promise<ErofsTreeNodes> {
  const nodes = new Map<bigint, TreeNode>();
  const directories = new Map<string, TreeNode>();
  const inodes = new Map<TreeNode, ErofsInode>();
  for await (const { path, inode } of image.walk()) {
    const node = nodes.get(inode.nid) ?? (await readNode(image, inode));
    nodes.set(inode.nid, node);
    inodes.set(node, inode);
    const name = path.toString('latin1');
    const slash = name.lastIndexOf('/');
    const isRoot = name === '/';
    if (!isRoot) directories.get(name.slice(0, slash))!.children!.set(name.slice(slash + 1), node);
    if (node.type === 'dir') directories.set(isRoot ? '' : name, node);
  }
  const root = directories.get('')!;
  countLinks(root);
  return { root, inodes };
}

async function readNode(image: ErofsFilesystem, inode: ErofsInode): Promise<TreeNode> {
  const { type, mode, uid, gid, mtime, rdev, size } = inode;
  return {
    type,
    mode,
    uid,
    gid,
    ...mtime,
    size,
    ...(rdev ?? { major: 0, minor: 0 }),
    xattrs: await readXattrs(image, inode),
    target: type === 'symlink' ? (await image.readlink(inode)).toString('latin1') : '',
    data: type === 'file' ? await readRanges(image, inode) : [],
    children: type === 'dir' ? new Map() : null,
    links: 0,
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
