import type { JobOptions } from '../job';
import type { LazyConnection } from '../lazy/messages';

const interval = 200; // milliseconds

/** Tells what the lazy server fetches of a mount's layers while that is being made: metadata, then what is prefetched. */
export class LazyProgress {
  private readonly keys = new Set<string>();
  private timer: NodeJS.Timeout | null = null;
  private isAsking = false;
  private done = 0;

  constructor(private readonly onProgress: JobOptions['onProgress']) {}

  /** From now on the layer is one of them. */
  add(server: LazyConnection, key: string): void {
    if (this.onProgress === undefined) return;
    this.keys.add(key);
    this.timer ??= setInterval(() => void this.tell(server), interval).unref();
  }

  /** Tells once more how much it was. */
  async end(server: LazyConnection): Promise<void> {
    if (this.timer === null) return;
    clearInterval(this.timer);
    await this.tell(server);
  }

  /** Never rejects: what is wrong with the server, the mount itself will tell. */
  private async tell(server: LazyConnection): Promise<void> {
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      const { layers } = await server.call('status', {});
      const ours = layers.filter(({ key }) => this.keys.has(key));
      const done = ours.reduce((sum, { bytesFetched }) => sum + bytesFetched, 0);
      if (done !== this.done) this.onProgress?.({ phase: 'fetch', done, total: 0, unit: 'bytes' });
      this.done = done;
    } catch {
      // As said above.
    } finally {
      this.isAsking = false;
    }
  }
}
