import { Semaphore } from 'async-mutex';
import { join } from 'node:path';
import { ensureLayerMount, removeLayerMount } from '../../mount/layer-mount';
import { removeFolder } from '../../mount/state';
import type { MountOptions } from '../../mount/mount';
import type { LayerOrigin } from '../pulled-images';

/** Layers that are being mounted at once: more wait for the network no shorter. */
const mountsAtOnce = 8;

/** The lazily mounted layers of snapshots, each at the folder of its snapshot. */
export class LayerMounts {
  private readonly running = new Semaphore(mountsAtOnce);
  private readonly mounting = new Map<number, Promise<string>>();

  /** @param options how layers are read, and where the state of mounts is */
  constructor(
    private readonly folder: string,
    private readonly options: MountOptions,
  ) {}

  folderOf(id: number): string {
    return join(this.folder, `${id}`);
  }

  /** Mounts a snapshot's layer, unless it is mounted and can be read; resolves to the layer's key. Null of one that has no files. */
  async ensure(id: number, { image, layer }: LayerOrigin): Promise<string | null> {
    if (layer === null) return null;
    const known = this.mounting.get(id);
    if (known !== undefined) return known;
    const mounting = this.running
      .runExclusive(() => ensureLayerMount(image, layer, this.folderOf(id), this.options))
      .then(({ key }) => key)
      .finally(() => this.mounting.delete(id));
    this.mounting.set(id, mounting);
    return mounting;
  }

  /** Undoes it, and removes the folder. */
  async remove(id: number): Promise<void> {
    await this.mounting.get(id)?.catch(() => undefined);
    await removeLayerMount(this.folderOf(id), { state: this.options.state });
    await removeFolder(this.folderOf(id));
  }
}
