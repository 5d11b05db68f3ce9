import type { Counter, Histogram, Registry } from 'prom-client';
import type { LazyFault, LazyObserver } from './observer';
import type { LazyStatus } from './messages';

/** Upper ends of the latency histogram, in seconds: from a chunk on the same machine to the time-out of a reader. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const prefix = 'seekable_erofs_lazy_';

/** What is told of each layer that is served. */
const ofLayers: readonly {
  name: string;
  help: string;
  value: (status: LazyStatus) => number;
  isCounter?: true;
}[] = [
  { name: 'chunks', help: 'Chunks of a layer', value: ({ chunks }) => chunks },
  { name: 'present_chunks', help: 'Chunks of it that are here', value: ({ present }) => present },
  { name: 'present_bytes', help: 'Bytes of them', value: ({ bytesPresent }) => bytesPresent },
  {
    name: 'prefetched_read_chunks',
    help: 'Chunks that were fetched because programs are known to read them, and were read',
    value: ({ prefetchedRead }) => prefetchedRead,
  },
  {
    name: 'prefetched_unread_chunks',
    help: 'Chunks that were fetched because programs are known to read them, and were not read',
    value: ({ prefetchedUnread }) => prefetchedUnread,
  },
  { name: 'waiting_reads', help: 'Reads that wait now', value: ({ waiting }) => waiting },
  { name: 'reads_total', help: 'Reads by the kernel', value: ({ reads }) => reads, isCounter: true },
  {
    name: 'cache_hits_total',
    help: 'Reads whose bytes were here',
    isCounter: true,
    value: ({ hits }) => hits,
  },
  {
    name: 'read_bytes_total',
    help: 'Bytes that readers were given',
    isCounter: true,
    value: ({ bytesRead }) => bytesRead,
  },
  {
    name: 'cache_bytes_total',
    help: 'Bytes of reads whose bytes were here',
    isCounter: true,
    value: ({ bytesHit }) => bytesHit,
  },
];

/** What all layers of a server did, for Prometheus. Counters begin at 0 with each server: a new one may have taken over. */
export class LazyMetrics implements LazyObserver {
  private readonly requests: Counter<'kind' | 'source'>;
  private readonly fetched: Counter<'kind' | 'source'>;
  private readonly errors: Counter<'kind'>;
  private readonly waits: Histogram;

  private constructor(
    { Counter, Gauge, Histogram }: typeof import('prom-client'),
    private readonly registry: Registry,
    statuses: () => Promise<readonly LazyStatus[]>,
  ) {
    const registers = [registry];
    const [kindAndSource, kind] = [['kind', 'source'] as const, ['kind'] as const];
    const named = (name: string, help: string) => ({ name: prefix + name, help, registers });
    this.requests = new Counter({
      ...named('requests_total', 'Requests for ranges of blobs'),
      labelNames: kindAndSource,
    });
    this.fetched = new Counter({
      ...named('fetched_bytes_total', 'Bytes of blobs that came'),
      labelNames: kindAndSource,
    });
    this.errors = new Counter({
      ...named('errors_total', 'Chunks or answers that failed'),
      labelNames: kind,
    });
    this.waits = new Histogram({
      ...named('demand_seconds', 'How long readers waited for a chunk'),
      buckets,
    });
    for (const { name, help, value, isCounter } of ofLayers) {
      const Metric = isCounter === true ? Counter : Gauge;
      const collect = async (): Promise<void> => {
        metric.reset();
        for (const status of await statuses()) metric.inc({ layer: status.diffId }, value(status));
      };
      const metric = new Metric({ ...named(name, help), labelNames: ['layer'], collect });
    }
    new Gauge({
      ...named('layers', 'Layers that are served'),
      async collect() {
        this.set((await statuses()).length);
      },
    });
    for (const name of ['frame', 'network', 'timeout', 'disk'] as const) this.errors.inc({ kind: name }, 0);
  }

  /** @param statuses what there is to say of each layer now */
  static async create(statuses: () => Promise<readonly LazyStatus[]>): Promise<LazyMetrics> {
    const library = await import('prom-client'); // by servers alone that are asked for it
    return new LazyMetrics(library, new library.Registry(), statuses);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  onRequest({ urgency, source }: Parameters<LazyObserver['onRequest']>[0]): void {
    this.requests.inc({ kind: urgency, source });
  }

  onFetched({ urgency, source, bytes }: Parameters<LazyObserver['onFetched']>[0]): void {
    this.fetched.inc({ kind: urgency, source }, bytes);
  }

  onDemand(milliseconds: number): void {
    this.waits.observe(milliseconds / 1000);
  }

  onFault(kind: LazyFault): void {
    this.errors.inc({ kind });
  }
}
