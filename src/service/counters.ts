import type { Counter, Registry } from 'prom-client';
import type { ProgressEvent } from '../job';
import type { Queues } from './queues';

const prefix = 'seekable_erofs_';

/** What one worker or hook server did, for Prometheus; counters begin at 0 with each process. */
export class ServiceCounters {
  readonly jobs: Counter<'state'>;
  readonly layers: Counter<'how'>;
  readonly bytes: Counter<'direction'>;
  readonly traffic: Counter<'registry'>;
  readonly requests: Counter<'registry'>;
  readonly retries: Counter<'registry' | 'code'>;
  readonly seconds: Counter<'phase'>;
  readonly hooks: Counter<'outcome'>;

  private constructor(
    readonly client: typeof import('prom-client'),
    readonly registry: Registry,
  ) {
    const registers = [registry];
    const counter = <T extends string>(name: string, help: string, labelNames: T[]): Counter<T> =>
      new client.Counter({ name: prefix + name, help, labelNames, registers });
    this.jobs = counter('images_total', 'Images that had an end here, by what became of them', ['state']);
    this.layers = counter('layers_total', 'Layers, converted here or taken over from other conversions', [
      'how',
    ]);
    this.bytes = counter('layer_bytes_total', 'Bytes of layers, before and after', ['direction']);
    this.traffic = counter('registry_bytes_total', 'Bytes to and from a registry', ['registry']);
    this.requests = counter('registry_requests_total', 'Requests to a registry', ['registry']);
    this.retries = counter('registry_retries_total', 'Requests that failed and were made again', [
      'registry',
      'code',
    ]);
    this.seconds = counter('phase_seconds_total', 'Seconds that layers spent in a phase', ['phase']);
    this.hooks = counter(
      'hook_events_total',
      'Events of registries, and images found by looking, by what became of them',
      ['outcome'],
    );
    for (const how of ['converted', 'taken'] as const) this.layers.inc({ how }, 0);
    for (const state of ['done', 'failed', 'retried', 'returned'] as const) this.jobs.inc({ state }, 0);
  }

  static async create(): Promise<ServiceCounters> {
    const client = await import('prom-client');
    return new ServiceCounters(client, new client.Registry());
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  /** A gauge whose values are looked up when somebody asks. */
  gauge(name: string, help: string, label: string, values: () => Promise<Record<string, number>>): void {
    const gauge = new this.client.Gauge({
      name: prefix + name,
      help,
      labelNames: [label],
      registers: [this.registry],
      async collect() {
        for (const [key, value] of Object.entries(await values())) gauge.set({ [label]: key }, value);
      },
    });
  }

  /** Adds up the time of each phase of a layer: from the first that is heard of it to the last. */
  phases(now: () => number = () => performance.now()): (event: ProgressEvent) => void {
    const last = new Map<string, number>();
    return ({ phase, item = '', done, total }) => {
      const key = `${phase} ${item}`;
      const before = last.get(key);
      const time = now();
      if (before !== undefined) this.seconds.inc({ phase }, (time - before) / 1000);
      if (total > 0 && done >= total) last.delete(key);
      else last.set(key, time);
    };
  }
}

/** Counters of a process at a queue, with how many jobs that has. */
export async function queueCounters(queues: Queues): Promise<ServiceCounters> {
  const counters = await ServiceCounters.create();
  const states = [
    'waiting',
    'prioritized',
    'active',
    'delayed',
    'waiting-children',
    'completed',
    'failed',
  ] as const;
  counters.gauge('queue_images', 'Images in the queue', 'state', () => queues.images.getJobCounts(...states));
  counters.gauge('queue_layers', 'Layers in the queue', 'state', () => queues.layers.getJobCounts(...states));
  return counters;
}
