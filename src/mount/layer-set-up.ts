import { failure } from '../errors';
import { withDm, type DeviceMapper } from './kernel/dm-control';
import { deviceNames, maxNames, verityTarget, type VerityDevice } from './kernel/dm-verity';
import { mountErofs } from './kernel/erofs';
import { attachLoop, type LoopDevice } from './kernel/loop';
import { mountsAt, readMounts } from '../fs/mountinfo';
import type { Backing } from './plan';
import type { LayerRecord } from './state-records';
import { isAnswered, servedBy } from './served-layer';
import { undoLayer } from './release';
import type { MountState } from './state';
import { readThrough } from './verity-check';

/** Does a step of a mount. It has a name: tests watch the steps, and end the process before and after each. */
export type Perform = <T>(name: string, step: () => Promise<T>) => Promise<T>;

/** A layer's bytes, ready for the kernel. */
export interface MountableLayer {
  /** The image, then its external devices. */
  files: string[];
  /** For a layer that the kernel checks. */
  verity: VerityDevice | null;
  /** Optional arguments of dm-verity. */
  extra: readonly string[];
}

/**
 * Mounts one layer at its place in the state folder, where all mounts of it find it. The state is locked meanwhile. The mount point is
 * mounted last of all, so what is mounted there is complete.
 */
export class LayerSetUp {
  private loops: LoopDevice[] = [];
  /** What the kernel reads; empty until that is known. */
  device = '';
  isMounted = false;
  private record: LayerRecord;

  constructor(
    private readonly state: MountState,
    readonly key: string,
    private readonly content: MountableLayer,
    backing: Backing,
    private readonly perform: Perform,
  ) {
    this.record = { files: content.files, backing, dm: null, loops: [] };
  }

  /** Finds the layer mounted, or clears away what a crash left of it and writes down what is going to be done. */
  async begin(): Promise<void> {
    const place = this.state.mountPoint(this.key);
    const [mount] = mountsAt(await readMounts(), place);
    if (mount?.type === 'erofs' && (await isAnswered(this.state, this.key))) {
      this.isMounted = true;
      // A long path was given by a descriptor.
      this.device = mount.source.startsWith('/proc/') ? this.content.files[0]! : mount.source;
      return;
    }
    await undoLayer(this.state, this.key);
    await this.state.makeLayerFolder(this.key);
    await this.save({ served: await servedBy(this.record.files[0]!) });
    if (this.record.backing === 'file') this.device = this.content.files[0]!;
  }

  /** Image and external devices become block devices. */
  async loop(): Promise<void> {
    for (const file of this.content.files) {
      const beforeUnsafe = (device: string) => this.save({ loops: [...this.record.loops, device] });
      this.loops.push(await attachLoop(file, beforeUnsafe));
    }
    this.device = this.loops[0]!.path;
  }

  /** The image's device gets one above it that checks what is read. */
  async verity(): Promise<void> {
    const { verity, extra } = this.content;
    if (verity === null) throw failure('FAILED', this.key, 'has no tree');
    const target = verityTarget(verity, this.device, extra);
    await withDm(async (dm) => {
      const path = await this.perform('dm create', () => this.createDevice(dm, verity));
      const { name, uuid } = this.record.dm!;
      try {
        await this.perform('dm table', async () => {
          dm.loadTable(name, target);
        });
        await this.perform('dm resume', async () => {
          dm.resume(name);
        });
        await readThrough(path, this.content.files[0]!);
        checkStatus(dm.status(name), this.content.files[0]!);
      } catch (error) {
        dm.remove(uuid);
        throw error;
      }
      this.device = path;
    });
  }

  async erofs(): Promise<void> {
    const [image, ...devices] = this.content.files;
    const external = this.record.backing === 'file' ? devices : this.loops.slice(1).map(({ path }) => path);
    const source = this.record.backing === 'file' ? image! : this.device;
    await mountErofs(source, external, this.state.mountPoint(this.key));
    this.isMounted = true;
  }

  /** Lets go of loop devices: what is mounted holds them by now, others detach. */
  async close(): Promise<void> {
    for (const loop of this.loops.splice(0)) await loop.close();
  }

  /** By names that are not taken. They are in the journal before the device is there. */
  private async createDevice(dm: DeviceMapper, { superblock }: VerityDevice): Promise<string> {
    const id = this.state.deviceId(this.key);
    for (let attempt = 0; attempt < maxNames; attempt++) {
      const names = deviceNames(id, superblock.uuid, attempt);
      await this.save({ dm: names });
      const path = dm.create(names.name, names.uuid);
      if (path !== null) return path;
    }
    await this.save({ dm: null });
    throw failure('FAILED', this.content.files[0]!, `${maxNames} device names of it are in use`);
  }

  private async save(changes: Partial<LayerRecord>): Promise<void> {
    this.record = { ...this.record, ...changes };
    await this.state.writeLayer(this.key, this.record);
  }
}

function checkStatus(status: string, name: string): void {
  if (status.startsWith('V')) return;
  throw failure('MISMATCH', name, `the kernel has found it corrupted (dm-verity status "${status}")`);
}
