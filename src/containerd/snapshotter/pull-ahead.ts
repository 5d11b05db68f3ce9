import type { DoorLog } from '../door-log';
import type { LayerOrigin } from '../pulled-images';
import type { SnapshotDatabase } from './database';
import type { LayerMounts } from './layer-mounts';

/** A layer that was mounted at the folder of the snapshot `id`. */
export interface MountedLayer {
  id: number;
  origin: LayerOrigin;
  /** In the state folder. */
  key: string | null;
}

/** A layer that is mounted before containerd asks for it. */
interface Coming {
  id: number;
  origin: LayerOrigin;
  key: Promise<string | null>;
  forgetting: NodeJS.Timeout;
}

/** A pull that was given up does not ask any more; in milliseconds. */
const patience = 120_000;

/**
 * containerd asks for the layers of an image one after the other, and each takes its round trips: so all of them are mounted side by side when the
 * first is asked for.
 */
export class PullAhead {
  private readonly coming = new Map<string, Coming>();
  /** Numbers of those that were asked for and are not kept yet, or are being removed. */
  private readonly taken = new Set<number>();

  constructor(
    private readonly mounts: Pick<LayerMounts, 'ensure' | 'remove'>,
    private readonly database: SnapshotDatabase,
    private readonly log: DoorLog,
  ) {}

  /** Whether a number is given to a layer that is no snapshot yet. */
  has(id: number): boolean {
    return this.taken.has(id) || [...this.coming.values()].some((coming) => coming.id === id);
  }

  /** Mounts the first of these layers, has it kept, and begins with the others. What is left of one that is not kept is removed. */
  async take(
    [first, ...others]: readonly LayerOrigin[],
    keep: (layer: MountedLayer) => Promise<void>,
  ): Promise<LayerOrigin> {
    const coming = this.begin(first!);
    const { id, origin } = coming;
    this.taken.add(id);
    this.coming.delete(nameOf(origin));
    clearTimeout(coming.forgetting);
    for (const other of others) this.begin(other);
    try {
      await keep({ id, origin, key: await coming.key });
    } catch (error) {
      // The pull ends with this: nobody asks for the layers above.
      await Promise.all([this.remove(id), ...others.map((other) => this.forget(nameOf(other)))]);
      throw error;
    } finally {
      this.taken.delete(id);
    }
    return origin;
  }

  private begin(origin: LayerOrigin): Coming {
    const name = nameOf(origin);
    const known = this.coming.get(name);
    if (known !== undefined) return known;
    const id = this.database.newId();
    const key = this.mounts.ensure(id, origin);
    key.catch(() => undefined); // told of when it is asked for
    const forgetting = setTimeout(() => {
      void this.forget(name);
    }, patience);
    const coming = { id, origin, key, forgetting: forgetting.unref() };
    this.coming.set(name, coming);
    return coming;
  }

  private async forget(name: string): Promise<void> {
    const coming = this.coming.get(name);
    if (coming === undefined) return;
    clearTimeout(coming.forgetting);
    this.coming.delete(name); // who asks for it now begins anew
    this.taken.add(coming.id);
    await this.remove(coming.id);
    this.taken.delete(coming.id);
  }

  private async remove(id: number): Promise<void> {
    await this.mounts.remove(id).catch((error: unknown) => {
      this.log.warning((error as Error).message);
    });
  }
}

function nameOf({ image, layer, diffId }: LayerOrigin): string {
  return JSON.stringify([image, layer, diffId]);
}
