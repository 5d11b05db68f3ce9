import type { Job, JobState } from 'bullmq';
import { failure } from '../errors';
import type { ConvertResult } from '../convert/convert-result';
import { publicName } from '../public-name';
import type { ImageJobData } from './job-data';
import { Queues, type ImageJob } from './queues';

/** A job as `queue ls` shows it. */
export interface QueuedJob {
  id: string;
  source: string;
  destination: string;
  state: 'waiting' | 'active' | 'done' | 'failed' | 'delayed';
  attempts: number;
  /** Why it failed, at last. */
  error: string | null;
}

/** A job as `queue show` shows it. */
export interface QueuedJobDetails extends QueuedJob {
  /** By the names of flags. */
  options: Record<string, unknown>;
  priority: number;
  /** ISO 8601; null when it has not come to that. */
  added: string | null;
  started: string | null;
  ended: string | null;
  result: ConvertResult | null;
}

const states = {
  waiting: ['waiting', 'prioritized'],
  active: ['active', 'waiting-children'],
  delayed: ['delayed'],
  failed: ['failed'],
  done: ['completed'],
} as const satisfies Record<QueuedJob['state'], readonly string[]>;

/** Jobs read at once. */
const page = 500;

/** What can be seen of a queue, and done to it. close() it. */
export class QueueAdmin {
  private constructor(private readonly queues: Queues) {}

  /** @throws as Queues.open() */
  static async open(url: string): Promise<QueueAdmin> {
    return new QueueAdmin(await Queues.open(url));
  }

  /** The jobs of these states (default: all), at most `limit`: those that wait in the order of their turn, those that ended the latest first. */
  async list(wanted: readonly QueuedJob['state'][] = [], limit = 10_000): Promise<QueuedJob[]> {
    const listed: QueuedJob[] = [];
    for (const state of wanted.length > 0 ? wanted : (Object.keys(states) as QueuedJob['state'][])) {
      const isOver = state === 'done' || state === 'failed';
      for (let start = 0; listed.length < limit; start += page) {
        const names = [...states[state]];
        const jobs = (await this.queues.images.getJobs(names, start, start + page - 1, !isOver)) as (
          ImageJob | undefined
        )[];
        listed.push(...jobs.flatMap((job) => (job === undefined ? [] : [described(job, state)])));
        if (jobs.length < page) break;
      }
    }
    return listed.slice(0, limit);
  }

  /** @throws NOT_FOUND */
  async show(id: string): Promise<QueuedJobDetails> {
    const job = await this.job(id);
    const time = (value: number | undefined): string | null =>
      value === undefined ? null : new Date(value).toISOString();
    return {
      ...described(job, stateOf(await job.getState())),
      options: job.data.options,
      priority: job.opts.priority ?? 0,
      added: time(job.timestamp),
      started: time(job.processedOn),
      ended: time(job.finishedOn),
      result: orNull(job.returnvalue),
    };
  }

  /** Gives dead letters new attempts: those named, or all. Returns how many. @throws NOT_FOUND, USAGE for a job that did not fail */
  async retry(ids: readonly string[]): Promise<number> {
    const jobs = ids.length > 0 ? await Promise.all(ids.map((id) => this.job(id))) : await this.failed();
    for (const job of jobs) {
      if (!(await job.isFailed()))
        throw failure('USAGE', `job ${job.id}`, 'it has not failed', 'see queue ls');
      await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true });
    }
    return jobs.length;
  }

  /** Removes jobs. @throws NOT_FOUND, USAGE for one that a worker has */
  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const job = await this.job(id);
      if (await job.isActive())
        throw failure('USAGE', `job ${id}`, 'a worker is at it', 'pause the queue, and wait for it to end');
      await job.remove();
    }
  }

  /** Workers end what they have and take nothing new, until resume(). */
  async pause(): Promise<void> {
    await Promise.all([this.queues.images.pause(), this.queues.layers.pause()]);
  }

  /** Workers take jobs again. */
  async resume(): Promise<void> {
    await Promise.all([this.queues.images.resume(), this.queues.layers.resume()]);
  }

  /** Removes all jobs that wait, and returns how many; what is under way ends. */
  async drain(): Promise<number> {
    const { images } = this.queues;
    const before = await images.getJobCountByTypes(...states.waiting, 'delayed');
    await images.drain(true);
    return before - (await images.getJobCountByTypes(...states.waiting, 'delayed'));
  }

  /** Closes the connections to Redis; the queue goes on. */
  close(): Promise<void> {
    return this.queues.close();
  }

  private failed(): Promise<ImageJob[]> {
    return this.queues.images.getFailed(0, -1);
  }

  private async job(id: string): Promise<ImageJob> {
    const job = (await this.queues.images.getJob(id)) as ImageJob | undefined;
    if (job === undefined) throw failure('NOT_FOUND', `job ${id}`, 'it is not in the queue', 'see queue ls');
    return job;
  }
}

/** Runs `use` on the queue at `url`, and lets go of it. */
export async function withQueue<T>(url: string, use: (queue: QueueAdmin) => Promise<T>): Promise<T> {
  const queue = await QueueAdmin.open(url);
  try {
    return await use(queue);
  } finally {
    await queue.close();
  }
}

function stateOf(state: JobState | 'unknown'): QueuedJob['state'] {
  const found = Object.entries(states).find(([, names]) => (names as readonly string[]).includes(state));
  return (found?.[0] as QueuedJob['state'] | undefined) ?? 'waiting';
}

function described(job: Job<ImageJobData>, state: QueuedJob['state']): QueuedJob {
  const { source, destination } = job.data;
  return {
    id: job.id ?? '',
    source: publicName(source),
    destination: publicName(destination),
    state,
    attempts: job.attemptsMade,
    error: orNull(job.failedReason),
  };
}

/** BullMQ says of what is not there yet that it is. */
function orNull<T>(value: T | null | undefined): T | null {
  return value ?? null;
}
