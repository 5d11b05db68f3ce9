import { DirectoryCursor } from './directory-cursor';
import { corrupt, type Inode } from './inode';
import type { OpenedErofsImage } from './open';
import type { DirectoryPart, Tree } from './tree';

const maxTarget = 4095; // bytes, as Linux

/** The tree of one image; its nodes are inodes. */
export class ErofsTree implements Tree<Inode> {
  readonly name: string;
  readonly root: Inode;

  constructor(private readonly image: OpenedErofsImage) {
    this.name = image.name;
    this.root = image.root;
  }

  /** Large directories are not read as a whole for a name that they have. */
  async lookup(directory: Inode, name: string | Uint8Array): Promise<Inode | undefined> {
    const bytes = typeof name === 'string' ? Buffer.from(name, 'latin1') : name;
    const nid = await this.image.directories.lookup(directory, bytes);
    return nid === undefined ? undefined : this.image.inodes.get(nid);
  }

  /** CORRUPT when the target is longer than Linux allows, or has a NUL. */
  async readlink(symlink: Inode): Promise<Buffer> {
    const { area, nid, size } = symlink;
    if (size > maxTarget) throw corrupt(area.name, nid, `a symlink target of ${size} bytes`);
    const target = await this.image.data.read(symlink, 0, size);
    if (target.includes(0)) throw corrupt(area.name, nid, 'a symlink target with a NUL');
    return target;
  }

  openDirectory(directory: Inode): Promise<DirectoryCursor> {
    const { directories, inodes } = this.image;
    return DirectoryCursor.open(directories.parts(directory), inodes);
  }

  directoryParts(directory: Inode): [DirectoryPart] {
    const share = directory.size / this.image.directories.sizeLimit(directory);
    return [{ image: this.name, layer: 0, nid: directory.nid, share }];
  }
}
