import type { FileType } from '../../erofs/inode';

/** An inode that a layer should have. Names, targets and xattrs are byte strings: one character (0–255) a byte. */
export interface TreeNode {
  type: FileType;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** The mtime: the floor of its seconds, and the nanoseconds above that. */
  seconds: bigint;
  nanoseconds: number;
  xattrs: Map<string, string> | null;
  /** Of a file, in bytes. */
  size: number;
  /** Of a symbolic link. */
  target: string;
  /** Device numbers. */
  major: number;
  minor: number;
  /** Where a file's bytes are: offset in the file, offset in the source, length of each piece, rising. Between them are holes. */
  data: readonly number[];
  /** Of a directory. Hard links are one node under several names. */
  children: Map<string, TreeNode> | null;
  /** Names of a file; of a directory 2 and one for each directory in it. */
  links: number;
}

/** Counts the names of every node under `root`. */
export function countLinks(root: TreeNode): void {
  root.links = 2;
  const directories = [root];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    for (const child of directory.children!.values()) {
      if (child.children === null) {
        child.links++;
        continue;
      }
      directory.links++;
      child.links = 2;
      directories.push(child);
    }
  }
}
