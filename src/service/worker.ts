import { randomUUID } from 'node:crypto';
import type { Job, Worker } from 'bullmq';
import { imagesAtOnce } from '../convert/batch/batch';
import type { ConvertOptions } from '../convert/convert-options';
import type { ConvertResult } from '../convert/convert-result';
import { convertImage } from '../convert/image';
import { convertPlanned, planLayers } from '../convert/layer-jobs';
import { withoutNoEffect } from '../convert/no-effect';
import { ConversionPool } from '../convert/pool';
import { failure } from '../errors';
import type { ResourceOptions, WarningOptions } from '../job';
import { parseReference } from '../oci/reference';
import { serveMetrics } from '../metrics-server';
import { checkOptions } from '../options';
import { publicName } from '../public-name';
import type { RegistryOptions } from '../store/registry/options';
import { realClock } from './clock';
import { queueCounters, type ServiceCounters } from './counters';
import { FleetLayers, LayerBusy, withLease } from './fleet-layers';
import { FleetTraffic, type RegistryLimit } from './fleet-traffic';
import {
  checkJobData,
  jobOptions,
  mayPass,
  reasonOf,
  type ImageJobData,
  type LayerJobData,
} from './job-data';
import { bullOptions, doneTime, imageQueue, layerQueue, loadBull, Queues } from './queues';
import { RedisLeases } from './redis-leases';

/** Something that a worker did. */
export interface WorkerEvent {
  what: 'image' | 'layer';
  state: 'started' | 'done' | 'failed' | 'retried' | 'returned' | 'converted' | 'taken';
  /** An image's source, or a layer's name in the fleet. */
  item: string;
  error?: string;
}

/** How a worker works. What a registry takes is the worker's own: jobs come from anybody who may write to Redis. */
export interface WorkerOptions
  extends Pick<ResourceOptions, 'signal' | 'threads' | 'tmpDir'>, WarningOptions, RegistryOptions {
  /** Images at once; default as of a batch. */
  jobs?: number | undefined;
  /** In the place of what jobs say. */
  cache?: string | undefined;
  /** Seconds that what is under way has to end, once `signal` is aborted; then it is handed back. Default: 30. */
  grace?: number | undefined;
  /** Seconds until the work of a worker that says nothing is given to others; default: 30. */
  lease?: number | undefined;
  /** By registry; all workers should have the same. */
  limits?: ReadonlyMap<string, RegistryLimit> | undefined;
  /** Told of what it does, job by job. */
  onEvent?: ((event: WorkerEvent) => void) | undefined;
  /** Called when it takes jobs. */
  onReady?: (() => void) | undefined;
  /** `ADDR:PORT` where `/metrics`, `/healthz` and `/readyz` are answered. */
  metrics?: string | undefined;
}

/** A job whose worker died so often is what kills workers. */
const maxDeaths = 10;
/** Milliseconds until a layer that another one converts is looked at again. */
const busyPause = 500;
/** An image is cut into jobs when so many of its layers are new. */
const worthSplitting = 2;

/**
 * Works on a queue's jobs until `signal` is aborted, and then gives what is under way `grace` seconds; what is not done by then is handed back.
 * @throws as Queues.open()
 */
export async function runWorker(url: string, options: WorkerOptions): Promise<void> {
  checkOptions('runWorker', options);
  const queues = await Queues.open(url, options);
  try {
    const counters = options.metrics === undefined ? undefined : await queueCounters(queues);
    const run = new WorkerRun(queues, options, counters);
    await run.start();
    const isReady = (): boolean => queues.redis.status === 'ready' && options.signal?.aborted !== true;
    const end = counters && (await serveMetrics(options.metrics!, counters, isReady));
    options.onReady?.();
    await run.untilEnd();
    end?.();
  } finally {
    await queues.close();
  }
}

class WorkerRun {
  private readonly id = randomUUID();
  private readonly stop = new AbortController();
  private readonly pool: ConversionPool;
  private readonly leases: RedisLeases;
  private readonly fleet: FleetLayers;
  private readonly traffic: FleetTraffic;
  private readonly leaseTime: number;
  private workers: Worker[] = [];
  private bull!: typeof import('bullmq');

  constructor(
    private readonly queues: Queues,
    private readonly options: WorkerOptions,
    private readonly counters: ServiceCounters | undefined,
  ) {
    const { threads, limits = new Map<string, RegistryLimit>() } = options;
    this.leaseTime = (options.lease ?? 30) * 1000;
    this.pool = new ConversionPool({ threads, remembered: 500 });
    this.leases = new RedisLeases(queues.redis, queues.address.prefix);
    this.fleet = new FleetLayers(this.leases, realClock, {
      leaseTime: this.leaseTime,
      isPatient: true,
      onLayer: (item, how) => {
        counters?.layers.inc({ how });
        options.onEvent?.({ what: 'layer', state: how, item });
      },
      onNaming: async (digest) => {
        await queues.redis.set(queues.key('own', digest), '', 'EX', doneTime);
      },
    });
    this.traffic = new FleetTraffic(this.leases, realClock, limits, {
      onRequest: (registry) => counters?.requests.inc({ registry }),
      onBytes: (registry, count) => counters?.traffic.inc({ registry }, count),
      onRetry: (registry, code) => counters?.retries.inc({ registry, code }),
    });
  }

  async start(): Promise<void> {
    this.bull = await loadBull();
    const concurrency = imagesAtOnce(this.options);
    const settings = {
      ...bullOptions(this.queues.address),
      lockDuration: this.leaseTime,
      stalledInterval: this.leaseTime / 2,
      maxStalledCount: maxDeaths,
      concurrency,
    };
    const make = <T extends ImageJobData, R>(
      name: string,
      work: (job: Job<T, R>, token: string) => Promise<R>,
    ) => new this.bull.Worker<T, R>(name, (job, token) => this.perform(job, token ?? '', work), settings);
    this.workers = [
      make<ImageJobData, ConvertResult>(imageQueue, (job, token) => this.image(job, token)),
      make<LayerJobData, null>(layerQueue, (job) => this.layer(job)),
    ];
    for (const worker of this.workers) worker.on('error', () => undefined); // told by our own connection
    await this.beat();
  }

  async untilEnd(): Promise<void> {
    const { signal, grace = 30, onWarning } = this.options;
    while (signal?.aborted !== true) {
      await realClock.sleep(5000, signal).catch(() => undefined);
      await this.beat().catch(() => undefined);
    }
    const ended = Promise.all(this.workers.map((worker) => worker.close()));
    const late = realClock.sleep(grace * 1000, this.stop.signal).then(
      () => true,
      () => false,
    );
    if (await Promise.race([ended.then(() => false), late])) {
      onWarning?.(`what is under way after ${grace} s is handed back`);
      this.stop.abort();
    }
    await ended;
    this.stop.abort();
    await this.queues.redis.zrem(`${this.queues.address.prefix}:workers`, this.id).catch(() => undefined);
  }

  /** Says that this worker is there. */
  private async beat(): Promise<void> {
    if (this.queues.redis.status !== 'ready') return;
    const key = `${this.queues.address.prefix}:workers`;
    const now = Date.now();
    await this.queues.redis.zadd(key, now, this.id);
    await this.queues.redis.zremrangebyscore(key, '-inf', now - 60_000);
  }

  /** Runs the work on a job, and turns how it ends into what BullMQ knows. */
  private async perform<T extends ImageJobData, R>(
    job: Job<T, R>,
    token: string,
    work: (job: Job<T, R>, token: string) => Promise<R>,
  ): Promise<R> {
    try {
      return await work(job, token);
    } catch (error) {
      if (this.stop.signal.aborted) {
        this.tell(job, 'returned');
        await job.moveToWait(token);
        throw new this.bull.WaitingError();
      }
      if (error instanceof LayerBusy) {
        await job.moveToDelayed(Date.now() + busyPause * (0.5 + Math.random()), token);
        throw new this.bull.DelayedError();
      }
      if (error instanceof this.bull.WaitingChildrenError) throw error;
      const reason = reasonOf(error);
      const isLast = !mayPass(error) || job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
      this.tell(job, isLast ? 'failed' : 'retried', reason);
      throw mayPass(error) ? new Error(reason) : new this.bull.UnrecoverableError(reason);
    }
  }

  private tell(job: Job<ImageJobData>, state: 'returned' | 'failed' | 'retried', error?: string): void {
    if (job.queueName !== imageQueue) return;
    this.counters?.jobs.inc({ state });
    const item = publicName(job.data.source);
    this.options.onEvent?.({ what: 'image', state, item, ...(error !== undefined && { error }) });
  }

  private async layer(job: Job<LayerJobData, null>): Promise<null> {
    const { source, destination, image, layer } = job.data;
    const options = this.convertOptions(job, this.fleet.impatient());
    await convertPlanned(source, destination, options, { image, layer });
    return null;
  }

  private async image(job: Job<ImageJobData, ConvertResult>, token: string): Promise<ConvertResult> {
    const data = checkJobData(`job ${job.id}`, job.data);
    const { source, destination } = data;
    const options = this.convertOptions(job, this.fleet);
    this.options.onEvent?.({ what: 'image', state: 'started', item: publicName(source) });
    if (data.isSplit !== true) await this.split(job, options);
    if (await job.moveToWaitingChildren(token)) throw new this.bull.WaitingChildrenError();
    const result = await this.alone(destination, (lost) =>
      convertImage(source, destination, { ...options, signal: AbortSignal.any([this.stop.signal, lost]) }),
    );
    const { bytesIn, bytesOut } = result.summary;
    this.counters?.jobs.inc({ state: 'done' });
    this.counters?.bytes.inc({ direction: 'in' }, bytesIn);
    this.counters?.bytes.inc({ direction: 'out' }, bytesOut);
    await this.queues.redis.set(
      this.queues.key('done', job.id!.slice(1)),
      result.digest ?? '',
      'EX',
      doneTime,
    );
    this.options.onEvent?.({ what: 'image', state: 'done', item: publicName(source) });
    return result;
  }

  /** Makes jobs of the layers that nobody has converted yet, so that many workers have a part in a large image. */
  private async split(job: Job<ImageJobData, ConvertResult>, options: ConvertOptions): Promise<void> {
    const { source, destination } = job.data;
    if (parseReference(destination).transport !== 'docker' && options.cache === undefined) return;
    if (parseReference(destination).transport === 'erofs-cache') return;
    const planned = await planLayers(source, destination, options);
    if (planned.length < worthSplitting) return;
    const known = await this.queues.redis.mget(planned.map(({ name }) => this.queues.key('layer', name)));
    const unknown = planned.filter((_, i) => known[i] === null);
    if (unknown.length < worthSplitting) return;
    await job.updateData({ ...job.data, isSplit: true });
    const parent = { id: job.id!, queue: job.queueQualifiedName };
    const { priority = 0 } = job.opts;
    await this.queues.layers.addBulk(
      unknown.map(({ image, layer }) => ({
        name: 'layer',
        data: { ...job.data, image, layer },
        // One that fails is tried again with its image, which then says why.
        opts: {
          parent,
          priority,
          ignoreDependencyOnFailure: true,
          removeOnComplete: true,
          removeOnFail: true,
        },
      })),
    );
  }

  /**
   * Runs `work` when nobody else writes the destination: of two conversions of a tag that moves, the later one must see the later image. When
   * somebody else has it meanwhile, because this worker stood still or Redis was away for longer than the lease, `work` is to stop, and comes again.
   */
  private async alone<T>(destination: string, work: (lost: AbortSignal) => Promise<T>): Promise<T> {
    const name = JSON.stringify(parseReference(destination));
    const lease = { name: `to ${name}`, holder: randomUUID(), time: this.leaseTime };
    if ((await this.leases.claim(lease.name, lease.holder, lease.time)).state !== 'ours')
      throw new LayerBusy();
    return withLease(this.leases, realClock, lease, (lost) =>
      work(lost).catch((error: unknown) => {
        throw lost.aborted ? new LayerBusy() : error;
      }),
    );
  }

  private convertOptions(job: Job<ImageJobData>, fleet: FleetLayers): ConvertOptions {
    const { authFile, certDir, insecureHttp, concurrency, retryTime, cache, threads, tmpDir, onWarning } =
      this.options;
    const given = { authFile, certDir, insecureHttp, concurrency, retryTime, cache };
    const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const [from, to] = [parseReference(job.data.source), parseReference(job.data.destination)];
    const own = withoutNoEffect(from, to, said);
    const source = publicName(job.data.source);
    return {
      ...jobOptions(`job ${job.id}`, job.data),
      ...own,
      threads,
      tmpDir,
      fleet,
      traffic: this.traffic,
      pool: this.pool,
      signal: this.stop.signal,
      ...(this.counters && { onProgress: this.counters.phases() }),
      onWarning: (line) => onWarning?.(`${source}: ${line}`),
    };
  }
}

/** `HOST=REQUESTS[,BYTES]`, both a second: `docker.io=20`, `registry.example=100,200MiB`. USAGE for anything else. */
export function parseLimit(text: string, parseSize: (size: string) => number): [string, RegistryLimit] {
  const [, host, requests = '', bytes] = /^([^=\s]+)=(\d*)(?:,(\w+))?$/.exec(text) ?? [];
  if (host === undefined || (requests === '' && bytes === undefined) || requests === '0')
    throw failure(
      'USAGE',
      text,
      'it is no limit',
      'HOST=REQUESTS,BYTES a second: registry.example=100,200MiB',
    );
  const limit = {
    ...(requests !== '' && { requests: Number(requests) }),
    ...(bytes !== undefined && { bytes: parseSize(bytes) }),
  };
  return [host, limit];
}
