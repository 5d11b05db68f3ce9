import { setTimeout as sleep } from 'node:timers/promises';
import { SeekableErofsError } from '../errors';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';

/** A registry that takes longer is one that is away; in milliseconds. */
const askTime = 5000;

/**
 * Asks whether a store still gives layers that are here already, as who mounts them now: a refusal is told while the mount is made, not by
 * a read a week later. One byte of each is asked for: where a registry leads to a server with signed URLs, a HEAD would not be taken there.
 */
export class Asker {
  private hasWarned = false;

  constructor(
    private readonly openBlob: SourceStore['openBlob'],
    private readonly onWarning: ((line: string) => void) | undefined,
  ) {}

  /** @throws what the registry refuses the layer with. A registry that can't be reached is warned of, once. */
  async ask(descriptor: Descriptor): Promise<void> {
    const stop = new AbortController();
    try {
      const asking = this.read(descriptor, stop.signal).then(() => null);
      const late = sleep(askTime, 'it did not answer in 5 s', { signal: stop.signal });
      late.catch(() => undefined);
      const why = await Promise.race([asking, late]);
      if (why !== null) this.warn(why);
    } catch (error) {
      if (isRefusal(error)) throw error;
      this.warn((error as Error).message);
    } finally {
      stop.abort();
    }
  }

  private async read(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const blob = await this.openBlob(descriptor);
    try {
      if (descriptor.size > 0) await blob.read(0, 1, signal);
    } finally {
      await blob.close();
    }
  }

  private warn(why: string): void {
    if (this.hasWarned) return;
    this.hasWarned = true;
    this.onWarning?.(`the registry was not asked whether it still gives the layers that are here: ${why}`);
  }
}

/** An error of the network has a cause, an answer that says no has none. */
function isRefusal(error: unknown): boolean {
  return !(error instanceof SeekableErofsError && error.code === 'IO' && error.cause !== undefined);
}
