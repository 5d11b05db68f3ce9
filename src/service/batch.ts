import { batchParts, runBatch, type BatchOptions, type BatchResult } from '../convert/batch/batch';
import { checkOptions } from '../options';
import { RedisQueue } from './redis-queue';

/** How a batch is given to a fleet. */
export interface QueueBatchOptions extends BatchOptions {
  /** `redis://HOST:PORT` of the queue; absent: this process works by itself, as convertBatch(). */
  queue?: string | undefined;
  /** Of the batch among others: lower is sooner, 0 before all. */
  priority?: number | undefined;
}

/**
 * As convertBatch(), where the workers of a queue do the work, and Redis knows what is done. Paths of layouts, caches and credentials are those
 * of the workers' machines.
 * @throws as convertBatch(), and IO, UNSUPPORTED, MACHINE where the queue can't be used
 */
export async function queueBatch(
  file: string,
  { queue, priority, ...options }: QueueBatchOptions = {},
): Promise<BatchResult> {
  checkOptions('queueBatch', { ...options, queue, priority });
  if (queue === undefined) return runBatch(file, options, batchParts);
  const openQueue = (): Promise<RedisQueue> =>
    RedisQueue.open(queue, {
      priority,
      jobs: options.jobs,
      restart: options.restart,
      onWarning: options.onWarning,
    });
  return runBatch(file, options, { ...batchParts, openQueue });
}
