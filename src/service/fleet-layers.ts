import { randomUUID } from 'node:crypto';
import { SeekableErofsError } from '../errors';
import { parseLayerRecord } from '../convert/layer-record';
import { recordOf } from '../convert/layer-record';
import type { Fleet, LayerWork, SharedLayer } from '../convert/fleet';
import { parseJsonObject, asObject } from '../oci/json';
import type { Clock } from './clock';
import type { Claim, LeaseStore } from './lease-store';

/** Another worker converts the layer: the job is to come again later, so that others have its place meanwhile. */
export class LayerBusy extends Error {
  override readonly name = 'LayerBusy';
}

/** How layers are leased. */
interface FleetLayersOptions {
  /** How long a lease is whose holder says nothing, in milliseconds; it is renewed three times as often. */
  leaseTime: number;
  /** Throws LayerBusy in the place of waiting for another worker. */
  isPatient: boolean;
  /** Told of each layer: converted here, or taken over from another conversion. */
  onLayer?: ((name: string, how: 'converted' | 'taken') => void) | undefined;
  /** Before a manifest is named. */
  onNaming?: ((digest: string) => Promise<void>) | undefined;
}

/** Who has what, and for how many milliseconds when nothing more is said. */
interface Lease {
  name: string;
  holder: string;
  time: number;
}

/** The longest pause before a lease is asked for again. */
const maxPause = 2000;

/**
 * Layers that are converted once in a fleet: whoever gets the lease on a layer's name converts it and puts the result in its place; the others
 * wait and take that. The lease of a worker that died is over by itself. Should two convert at once all the same (the first was stopped
 * for longer than its lease), both make the same bytes, and nothing but work is lost.
 */
export class FleetLayers implements Fleet {
  constructor(
    private readonly store: LeaseStore,
    private readonly clock: Clock,
    private readonly options: FleetLayersOptions,
  ) {}

  /** The same, but for jobs that rather come again than wait. */
  impatient(): FleetLayers {
    return new FleetLayers(this.store, this.clock, { ...this.options, isPatient: false });
  }

  async layer<T>(name: string, work: LayerWork<T>): Promise<T> {
    const holder = randomUUID();
    for (let waits = 0; ;) {
      const claim = await this.store.claim(name, holder, this.options.leaseTime);
      if (claim.state === 'made') {
        const taken = await this.take(name, claim.result, work);
        if (taken !== null) return taken;
      } else if (claim.state === 'ours') {
        return await this.make(name, holder, work);
      } else {
        await this.wait(claim, waits++, work.signal);
      }
    }
  }

  async naming(digest: string): Promise<void> {
    await this.options.onNaming?.(digest);
  }

  private async take<T>(name: string, result: string, work: LayerWork<T>): Promise<T | null> {
    const shared = parseShared(result);
    const taken = shared === null ? null : await work.take(shared);
    if (taken === null) await this.store.forget(name, result);
    else this.options.onLayer?.(name, 'taken');
    return taken;
  }

  private async make<T>(name: string, holder: string, { make }: LayerWork<T>): Promise<T> {
    const lease = keepLease(this.store, this.clock, { name, holder, time: this.options.leaseTime });
    try {
      const { made, shared } = await make();
      await this.store.finish(name, holder, serializeShared(shared));
      this.options.onLayer?.(name, 'converted');
      return made;
    } catch (error) {
      await this.store.release(name, holder).catch(() => undefined);
      throw error;
    } finally {
      lease.end();
    }
  }

  private async wait(
    { left }: Extract<Claim, { state: 'held' }>,
    waits: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (!this.options.isPatient) throw new LayerBusy();
    const pause = Math.min(100 * 2 ** waits, maxPause, left + 1);
    await this.clock.sleep(pause * (0.5 + this.clock.random() / 2), signal);
  }
}

/** Runs `work` while it has a lease that was claimed; `lost` is aborted when somebody else has it meanwhile. Afterwards it is free. */
export async function withLease<T>(
  store: Pick<LeaseStore, 'renew' | 'release'>,
  clock: Clock,
  lease: Lease,
  work: (lost: AbortSignal) => Promise<T>,
): Promise<T> {
  const kept = keepLease(store, clock, lease);
  try {
    return await work(kept.lost);
  } finally {
    kept.end();
    await store.release(lease.name, lease.holder);
  }
}

/** A lease that is renewed until end(); `lost` is aborted when somebody else has it by now. Exported for its test. */
export function keepLease(
  store: Pick<LeaseStore, 'renew'>,
  clock: Clock,
  { name, holder, time }: Lease,
): { end(): void; lost: AbortSignal } {
  const ended = new AbortController();
  const lost = new AbortController();
  const renew = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(time / 3, ended.signal);
      // A store that is away is one for the next time; a lease that was lost stays lost.
      if (await store.renew(name, holder, time).catch(() => true)) continue;
      lost.abort();
      return;
    }
  };
  renew().catch(() => undefined); // it ends by the signal
  return {
    end: () => {
      ended.abort();
    },
    lost: lost.signal,
  };
}

function serializeShared({ record, place }: SharedLayer): string {
  return JSON.stringify({ record: recordOf(record), place });
}

/** Null for what another version wrote, or nobody. */
function parseShared(text: string): SharedLayer | null {
  try {
    const { record, place } = parseJsonObject(Buffer.from(text), 'result');
    if (place !== null && typeof place !== 'string') return null;
    return { record: parseLayerRecord(asObject(record, 'record'), 'record'), place };
  } catch (error) {
    if (error instanceof SeekableErofsError) return null;
    throw error;
  }
}
