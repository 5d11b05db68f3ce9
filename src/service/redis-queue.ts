import { failure, type SeekableErofsError } from '../errors';
import type { WarningOptions } from '../job';
import { parseJsonObject } from '../oci/json';
import type { JobCall, JobQueue } from '../convert/batch/job-queue';
import type { BatchJob } from '../convert/batch/jobs';
import type { ConvertResult } from '../convert/convert-result';
import { realClock } from './clock';
import { errorOf, jobData } from './job-data';
import { jobId, Queues } from './queues';

/** Jobs of one batch in the queue at once: enough for a hundred workers, and no burden on Redis. */
const jobsAtOnce = 1000;
/** Milliseconds between looks at the jobs. */
const pause = 300;
/** What is asked of each job, in this order. */
const fields = ['finishedOn', 'failedReason', 'returnvalue', 'processedOn', 'atm'] as const;

/** How a batch uses a queue. */
interface RedisQueueOptions extends WarningOptions {
  /** Lower is sooner; 0 is before all others. */
  priority?: number | undefined;
  /** Images in the queue at once. */
  jobs?: number | undefined;
  /** Converts what is done already. */
  restart?: boolean | undefined;
}

/** A job that is waited for. */
interface Awaited {
  job: BatchJob;
  call: JobCall;
  attempts: number;
  isStarted: boolean;
  end: (outcome: ConvertResult | SeekableErofsError) => void;
  fail: (error: Error) => void;
}

/** Jobs that the workers of a fleet do; Redis knows what is done. What a batch that ends early has put there is done all the same. */
export class RedisQueue implements JobQueue {
  readonly atOnce: number;
  private readonly awaited = new Map<string, Awaited>();
  private watching: Promise<void> | undefined;
  private isClosed = false;

  private constructor(
    private readonly queues: Queues,
    private readonly options: RedisQueueOptions,
  ) {
    this.atOnce = options.jobs ?? jobsAtOnce;
  }

  /** @throws as Queues.open() */
  static async open(url: string, options: RedisQueueOptions): Promise<RedisQueue> {
    return new RedisQueue(await Queues.open(url, options), options);
  }

  async digestOf({ key }: BatchJob): Promise<string | null | undefined> {
    if (this.options.restart === true) return undefined;
    const digest = await this.queues.redis.get(this.queues.key('done', key));
    if (digest === null) return undefined;
    return digest === '' ? null : digest;
  }

  async perform(job: BatchJob, call: JobCall): Promise<ConvertResult | SeekableErofsError> {
    const id = jobId(job.key);
    const old = await this.queues.images.getJob(id);
    // What has an end is done anew: a dead letter has had its attempts, and of what is done only `restart` asks again.
    if (old?.finishedOn !== undefined) await old.remove();
    await this.add(job);
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.awaited.delete(id);
        reject(failure('CANCELLED', job.source, 'cancelled', 'what is in the queue is still converted'));
      };
      call.signal.addEventListener('abort', stop, { once: true });
      const done = (): void => {
        this.awaited.delete(id);
        call.signal.removeEventListener('abort', stop);
      };
      const awaited = {
        job,
        call,
        attempts: 0,
        isStarted: false,
        end: (outcome: ConvertResult | SeekableErofsError): void => {
          done();
          resolve(outcome);
        },
        fail: (error: Error): void => {
          done();
          reject(error);
        },
      };
      this.awaited.set(id, awaited);
      if (call.signal.aborted) stop();
      else this.watching ??= this.watch();
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.queues.close();
  }

  private async add({ key, ...job }: BatchJob): Promise<void> {
    await this.queues.add(jobId(key), jobData({ key, ...job }), this.options.priority);
  }

  /** Looks at all jobs that are waited for, again and again. Events would be quicker, and lost with a Redis that restarts. */
  private async watch(): Promise<void> {
    try {
      while (!this.isClosed && this.awaited.size > 0) {
        await realClock.sleep(pause);
        await this.look([...this.awaited]);
      }
    } catch (error) {
      if (!this.isClosed) for (const { fail } of this.awaited.values()) fail(error as Error);
    } finally {
      this.watching = undefined;
    }
  }

  private async look(jobs: [string, Awaited][]): Promise<void> {
    const asked = this.queues.redis.pipeline();
    for (const [id] of jobs) asked.hmget(this.queues.jobKey(id), ...fields);
    const answers = (await asked.exec()) ?? [];
    for (const [i, [id, awaited]] of jobs.entries()) {
      const [error, values] = answers[i] ?? [];
      if (error != null || this.awaited.get(id) !== awaited) continue;
      await this.see(awaited, values as (string | null)[]);
    }
  }

  private async see(awaited: Awaited, values: (string | null)[]): Promise<void> {
    const { job, call } = awaited;
    const [finished, reason, result, processed, attempts] = values;
    if (processed != null && !awaited.isStarted) {
      awaited.isStarted = true;
      call.onStart();
    }
    if (Number(attempts) > awaited.attempts && finished == null) {
      awaited.attempts = Number(attempts);
      call.onRetry();
    }
    if (finished != null && reason != null) awaited.end(errorOf(job.source, reason));
    else if (finished != null && result != null) awaited.end(resultOf(job, result));
    // Redis lost it with its last second, or somebody removed it.
    else if (values.every((value) => value === null)) await this.add(job);
  }
}

function resultOf({ source, destination }: BatchJob, text: string): ConvertResult {
  const value = parseJsonObject(Buffer.from(text), 'result') as unknown as ConvertResult;
  return { ...value, source, destination };
}
