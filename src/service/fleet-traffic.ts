import type { SeekableErofsError } from '../errors';
import type { RegistryTraffic } from '../store/registry/options';
import type { Clock } from './clock';
import type { LeaseStore, SharedRate } from './lease-store';

/** What a registry may be asked, by all workers together; absent: any number. */
export interface RegistryLimit {
  requests?: number | undefined;
  /** Bytes a second, in both directions together. */
  bytes?: number | undefined;
}

/** What passes by is told to these. */
interface TrafficCounters {
  onRequest?: ((host: string) => void) | undefined;
  onBytes?: ((host: string, count: number) => void) | undefined;
  onRetry?: ((host: string, code: string) => void) | undefined;
}

/** How long the store may take to answer before a worker goes by its own share of a limit. */
const patience = 1000;

/** Limits on what registries are asked that hold for a fleet together. While the store is away, each worker keeps to its share. */
export class FleetTraffic implements RegistryTraffic {
  private workers = 1;
  /** When the next one may go, by bucket, as far as this worker alone knows. */
  private readonly own = new Map<string, number>();

  constructor(
    private readonly store: Pick<LeaseStore, 'reserve'>,
    private readonly clock: Clock,
    private readonly limits: ReadonlyMap<string, RegistryLimit>,
    private readonly counters: TrafficCounters = {},
  ) {}

  async request(host: string, signal?: AbortSignal): Promise<void> {
    this.counters.onRequest?.(host);
    await this.wait(`requests ${host}`, 1, this.limits.get(host)?.requests, signal);
  }

  async bytes(host: string, count: number, signal?: AbortSignal): Promise<void> {
    this.counters.onBytes?.(host, count);
    await this.wait(`bytes ${host}`, count, this.limits.get(host)?.bytes, signal);
  }

  retried(host: string, { why, cause }: SeekableErofsError): void {
    const status = /status (\d{3})/.exec(why)?.[1];
    const code = (cause as { cause?: { code?: unknown } } | undefined)?.cause?.code;
    this.counters.onRetry?.(host, status ?? (typeof code === 'string' ? code : 'other'));
  }

  private async wait(
    bucket: string,
    amount: number,
    perSecond: number | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    if (perSecond === undefined) return;
    const rate = { perSecond, burst: perSecond };
    const pause = await this.reserve(bucket, amount, rate, signal);
    if (pause > 0) await this.clock.sleep(pause, signal);
  }

  private async reserve(
    bucket: string,
    amount: number,
    rate: SharedRate,
    signal?: AbortSignal,
  ): Promise<number> {
    const answered = new AbortController();
    const late = this.clock
      .sleep(patience, signal === undefined ? answered.signal : AbortSignal.any([answered.signal, signal]))
      .then(() => null);
    late.catch(() => undefined); // the answer came first
    const asked = this.store.reserve(bucket, amount, rate).catch(() => null);
    const answer = await Promise.race([asked, late]);
    answered.abort();
    if (answer === null) return this.ownShare(bucket, amount, rate.perSecond / this.workers);
    this.workers = Math.max(1, answer.workers);
    return answer.wait;
  }

  private ownShare(bucket: string, amount: number, perSecond: number): number {
    const now = this.clock.now();
    const next = Math.max(now, this.own.get(bucket) ?? now);
    this.own.set(bucket, next + (amount * 1000) / perSecond);
    return next - now;
  }
}
