import type { ConnectionOptions, Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ConvertResult } from '../convert/convert-result';
import type { WarningOptions } from '../job';
import { parseQueueUrl, type QueueAddress } from './address';
import { connectionOptions, connectQueue } from './connection';
import type { ImageJobData, LayerJobData } from './job-data';
import { optional, queuePackages } from './optional';

/** BullMQ's names of the two queues. */
export const imageQueue = 'images';
export const layerQueue = 'layers';

/** What becomes of jobs that have an end, and of those that fail. */
const retention = {
  removeOnComplete: { age: 7 * 86_400, count: 10_000 },
  removeOnFail: { age: 90 * 86_400, count: 100_000 },
};
/** Attempts of an image, in all: about a minute with pauses that double; then it is a dead letter. */
const attempts = { attempts: 5, backoff: { type: 'exponential', delay: 2000, jitter: 0.5 } } as const;

export type ImageJob = Job<ImageJobData, ConvertResult>;

/** BullMQ's options that all queues and workers of an address share. */
export function bullOptions(address: QueueAddress) {
  const connection = connectionOptions(address) as ConnectionOptions;
  return { connection, prefix: address.prefix, skipVersionCheck: true };
}

/** BullMQ, which its users install. */
export function loadBull(): Promise<typeof import('bullmq')> {
  return optional(() => import('bullmq'), 'a queue', queuePackages);
}

/** The queue at an address: jobs are put there and looked at, not worked on. */
export class Queues {
  private constructor(
    readonly address: QueueAddress,
    readonly redis: Redis,
    readonly images: Queue<ImageJobData, ConvertResult>,
    readonly layers: Queue<LayerJobData, null>,
  ) {}

  /** @throws as connectQueue(), MACHINE where BullMQ is not installed */
  static async open(url: string, options: WarningOptions = {}): Promise<Queues> {
    const address = parseQueueUrl(url);
    const { Queue } = await loadBull();
    const redis = await connectQueue(address, options);
    const settings = bullOptions(address);
    const images = new Queue<ImageJobData, ConvertResult>(imageQueue, settings);
    const layers = new Queue<LayerJobData, null>(layerQueue, settings);
    // Outages are told by the connection of our own.
    for (const queue of [images, layers]) queue.on('error', () => undefined);
    return new Queues(address, redis, images, layers);
  }

  /** Adds a job unless one of this id is there. */
  async add(id: string, data: ImageJobData, priority = 0): Promise<void> {
    await this.images.add('image', data, { jobId: id, priority, ...attempts, ...retention });
  }

  /** Of our own things, beside BullMQ's. */
  key(kind: string, name: string): string {
    return `${this.address.prefix}:${kind}:${name}`;
  }

  /** Where BullMQ keeps a job. */
  jobKey(id: string): string {
    return `${this.address.prefix}:${imageQueue}:${id}`;
  }

  async close(): Promise<void> {
    await Promise.all([this.images.close(), this.layers.close()]);
    this.redis.disconnect();
  }
}

/** BullMQ takes no id that is a number. */
export function jobId(key: string): string {
  return `i${key}`;
}

/** Seconds that it is remembered which image a job has made. */
export const doneTime = 90 * 86_400;
