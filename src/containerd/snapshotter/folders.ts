import { chown, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makePrivateFolder } from '../../fs/private-folder';

const closed = 0o700;
/** As containerd's overlayfs snapshotter makes the root of what is written. */
const rootMode = 0o755;
const workMode = 0o711;

/**
 * The folders of snapshots. `l/ID`: a layer's files, mounted or unpacked, or what a container wrote. `w/ID`: the kernel's, of what is written to.
 * The names are short: those of 127 layers are to fit the one page that mount(2) takes.
 */
export class SnapshotFolders {
  private constructor(readonly root: string) {}

  static async open(root: string): Promise<SnapshotFolders> {
    const folders = new SnapshotFolders(root);
    for (const path of [root, folders.layers, folders.works]) await makePrivateFolder(path, closed);
    return folders;
  }

  get database(): string {
    return join(this.root, 'database');
  }

  get layers(): string {
    return join(this.root, 'l');
  }

  layer(id: number): string {
    return join(this.layers, `${id}`);
  }

  work(id: number): string {
    return join(this.works, `${id}`);
  }

  /** Makes the folders of a snapshot that is written to; its root belongs to whom the root of the layer below does. */
  async make(id: number, below: string | null): Promise<void> {
    await mkdir(this.layer(id), { mode: rootMode });
    if (below !== null) {
      const { uid, gid } = await stat(below);
      await chown(this.layer(id), uid, gid);
    }
    await mkdir(this.work(id), { mode: workMode });
  }

  async removeWork(id: number): Promise<void> {
    await rm(this.work(id), { recursive: true, force: true });
  }

  /** Of a snapshot without a mounted layer. */
  async remove(id: number): Promise<void> {
    await this.removeWork(id);
    await rm(this.layer(id), { recursive: true, force: true });
  }

  /** The numbers of all snapshots that anything is left of. */
  async ids(): Promise<number[]> {
    const names = [...(await readdir(this.layers)), ...(await readdir(this.works))];
    return [...new Set(names.filter((name) => /^\d+$/.test(name)).map(Number))];
  }

  private get works(): string {
    return join(this.root, 'w');
  }
}
