import type { FileType } from './inode';

/**
 * What paths are looked up in (tree-lookup.ts) and what is walked (tree-walk.ts): the tree of one EROFS image, or of several merged.
 * A node `N` is what such a tree has behind a name. Names are byte strings: one character (0–255) a byte.
 */
export interface Tree<N extends TypedNode> {
  /** What errors call it. */
  readonly name: string;
  readonly root: N;
  /** What a directory has under a name; undefined for nothing. */
  lookup(directory: N, name: string): Promise<N | undefined>;
  /** What a symlink holds. */
  readlink(symlink: N): Promise<Buffer>;
  openDirectory(directory: N): Promise<EntryReader<N>>;
  /** The directories of images that are shown as this one, so that a walk can see where it goes in circles. */
  directoryParts(directory: N): readonly DirectoryPart[];
}

/** What a walk needs of a tree. */
export type WalkedTree<N extends TypedNode> = Pick<Tree<N>, 'name' | 'openDirectory' | 'directoryParts'>;

/** The least that a node says about itself. */
export interface TypedNode {
  readonly type: FileType;
}

/** A name in a directory, and what is behind it. */
export interface NamedNode<N> {
  name: string;
  node: N;
}

/** Goes through a directory once, in the order of its names' bytes. */
export interface EntryReader<N> {
  /** The next entry, undefined behind the last one. A promise only where bytes have to be read: there may be millions. */
  next(): NamedNode<N> | undefined | Promise<NamedNode<N> | undefined>;
}

/** A directory of one image. */
export interface DirectoryPart {
  /** The image's name, for errors, and its number among those of the tree. */
  image: string;
  layer: number;
  nid: bigint;
  /** Of all that the directories of this image may take together: 1 is all. */
  share: number;
}
