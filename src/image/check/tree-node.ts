import type { FileType } from '../../erofs/inode';

/** What may be said of an inode more than once. Xattrs are byte strings: one character (0–255) a byte. */
export interface NodeAttributes {
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** The mtime: the floor of its seconds, and the nanoseconds above that. */
  seconds: bigint;
  nanoseconds: number;
  xattrs: ReadonlyMap<string, string> | null;
}

/** An inode that a layer should have. The target is a byte string as well. */
export interface TreeNode extends NodeAttributes {
  type: FileType;
  /** Of a file, in bytes. */
  size: number;
  /** Of a symbolic link. */
  target: string;
  /** Device numbers. */
  major: number;
  minor: number;
  /** Where a file's bytes are: offset in the file, offset in the source, length of each piece, rising. Between them are holes. */
  data: readonly number[];
  /** Its number, where the source is an image. */
  nid: bigint;
}
