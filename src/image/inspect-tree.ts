import { openErofs } from '../erofs/filesystem';
import { sniffLayer } from '../layer/sniff';
import type { ByteSource } from '../source/byte-source';
import { Extents } from './extents';
import { listTree, type ListedEntry } from './list';
import { MergedTree } from './merged-tree';
import { walkTree } from '../erofs/tree-walk';

/** How much of an image is no file data: what a lazy reader fetches before it reads files. */
export interface MetadataShare {
  /** Superblock, inodes, directories, symlinks, xattrs, maps, and padding. */
  metadataBytes: number;
  imageBytes: number;
}

/** What inspectTree() takes. */
export interface TreeOptions {
  /** Levels below the root; default: 3. */
  depth?: number | undefined;
  /** Find out the share of metadata, for which every inode is read. */
  measure?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

const defaultDepth = 3;

/** What is shown of a layer's image; both null when it is no EROFS. */
interface TreeInspection {
  /** Entries as they are found; goes through them once. */
  tree: AsyncIterable<ListedEntry> | null;
  /** Null as well when it can't be told, or wasn't asked for. */
  share: MetadataShare | null;
}

/** The directory tree of a layer's image, as it is. */
export async function inspectTree(
  image: ByteSource,
  { depth = defaultDepth, measure = false, signal }: TreeOptions,
): Promise<TreeInspection> {
  if ((await sniffLayer(image, signal)) !== 'erofs') return { tree: null, share: null };
  const filesystem = await openErofs(image, { signal });
  const tree = await MergedTree.open([{ name: image.name, filesystem }], false);
  // Data on devices that nobody gave can't be told from data that isn't there.
  const isMeasured = measure && filesystem.info.externalDevices === 0;
  return {
    tree: listTree(tree, '/', { recursive: true, depth, signal }),
    share: isMeasured ? await measureMetadata(tree, image, filesystem.info.blockSize, signal) : null,
  };
}

/** Null when files are compressed inside: how much room they take, their inodes don't say. */
async function measureMetadata(
  tree: MergedTree,
  image: ByteSource,
  blockSize: number,
  signal: AbortSignal | undefined,
): Promise<MetadataShare | null> {
  const data = new Extents();
  for await (const { node } of walkTree(tree, { path: '/', node: tree.root }, { signal })) {
    if (node.inode.type !== 'file') continue;
    for await (const { source, address, length } of tree.extents(node)) {
      if (source === null) return null;
      const end = address + length;
      // Blocks that data begins are its own to the end; a tail behind its inode isn't one.
      const taken = address % blockSize === 0 ? Math.ceil(end / blockSize) * blockSize : end;
      data.add(address, taken);
    }
  }
  const dataBytes = data.length();
  return { metadataBytes: Math.max(0, image.size - dataBytes), imageBytes: image.size };
}
