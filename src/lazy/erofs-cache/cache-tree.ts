import { write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isContainerdTree, serializeDmveritySidecar } from '../../format/dmverity-sidecar';
import { parseDigest } from '../../format/digest';
import { openTemporary } from '../../fs/temporary';
import type { NativeFuseServer } from '../../native/fuse-server';
import { nodeOf } from '../lazy-folder';
import type { LazyLayerAnswer } from '../messages';

const rootNode = 1;
/** The folder of the FUSE mount that is bound to where containerd looks. */
const cacheName = 'erofs-cache';
const sidecarEnding = '.dmverity';

/** Where that folder is, below the FUSE mount. */
export function cacheFolderIn(mountPoint: string): string {
  return join(mountPoint, cacheName);
}

/**
 * containerd's layer content cache as a folder of the FUSE mount: `sha256/xx/HEX.erofs` by the DiffID, each another name of a layer's file,
 * and a `.dmverity` file beside those that have a tree which containerd opens. containerd takes an image when it is there, so that name comes last and goes first.
 */
export class CacheTree {
  /** What is shown: the key of the layer behind each name. */
  private readonly shown = new Map<string, string>();
  private readonly folders = new Set<string>();

  constructor(
    private readonly fuse: Pick<NativeFuseServer, 'add' | 'addFolder' | 'link' | 'unlink' | 'remove'>,
  ) {
    this.makeFolder('', cacheName);
  }

  /** The key of the layer behind a name; undefined when there is none. */
  keyOf(diffId: string): string | undefined {
    return this.shown.get(diffId);
  }

  /** Shows a layer that is served under the name `diffId`; one that is shown already stays. */
  async show(diffId: string, key: string, { verity }: Pick<LazyLayerAnswer, 'verity'>): Promise<void> {
    if (this.shown.has(diffId)) return;
    const { folder, name } = this.placeOf(diffId);
    this.shown.set(diffId, key);
    try {
      if (verity !== null && isContainerdTree(verity.superblock)) {
        const { superblock, rootDigest } = verity;
        const hashOffset = superblock.dataBlocks * superblock.dataBlockSize;
        await this.addFile(
          folder,
          `${name}${sidecarEnding}`,
          serializeDmveritySidecar({ rootDigest, hashOffset }),
        );
      }
      this.fuse.link(folder, name, nodeOf(key));
    } catch (error) {
      this.hide(diffId);
      throw error;
    }
  }

  /** Takes a name away; who has the file open goes on. */
  hide(diffId: string): void {
    if (!this.shown.delete(diffId)) return;
    const { folder, name } = this.placeOf(diffId);
    this.fuse.unlink(folder, name);
    this.fuse.remove(nodeOf(fileKey(`${name}${sidecarEnding}`)));
  }

  /** The layer's file is another now: its names lead there. */
  shownAnew(key: string): void {
    for (const [diffId, shown] of this.shown) {
      if (shown !== key) continue;
      const { folder, name } = this.placeOf(diffId);
      this.fuse.unlink(folder, name);
      this.fuse.link(folder, name, nodeOf(key));
    }
  }

  private placeOf(diffId: string): { folder: number; name: string } {
    const { algorithm, hex } = parseDigest(diffId);
    const algorithms = this.makeFolder(cacheName, algorithm);
    return { folder: this.makeFolder(algorithms, hex.slice(0, 2)).node, name: `${hex}.erofs` };
  }

  /** By its path, so that a server that takes over has the same numbers. */
  private makeFolder(parent: string | { path: string }, name: string): { path: string; node: number } {
    const above = typeof parent === 'string' ? parent : parent.path;
    const path = above === '' ? name : `${above}/${name}`;
    const node = nodeOf(`folder ${path}`);
    if (!this.folders.has(path)) {
      this.fuse.addFolder(above === '' ? rootNode : nodeOf(`folder ${above}`), name, node);
      this.folders.add(path);
    }
    return { path, node };
  }

  private async addFile(folder: number, name: string, text: string): Promise<void> {
    const bytes = Buffer.from(text);
    const file = await openTemporary();
    try {
      await promisify(write)(file.fd, bytes, 0, bytes.length, 0);
      const starts = Float64Array.of(0, bytes.length);
      const node = nodeOf(fileKey(name));
      this.fuse.add({ node, name, folder, fd: file.fd, starts, present: Uint8Array.of(1), keepsLog: false });
    } finally {
      await file.close();
    }
  }
}

function fileKey(name: string): string {
  return `file ${name}`;
}
