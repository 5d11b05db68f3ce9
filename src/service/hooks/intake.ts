import { createHash } from 'node:crypto';
import { planJobs } from '../../convert/batch/jobs';
import { failure } from '../../errors';
import { jobData } from '../job-data';
import { jobId, type Queues } from '../queues';
import type { Pushed } from './notification';
import { jobFor, rulesFor, type Policy, type PolicyRule } from './policy';

/** What became of an event. */
export type Outcome = 'accepted' | 'duplicate' | 'own' | 'unmatched';

/** Puts pushed images into the queue: each digest once, and nothing that workers pushed themselves. */
export class Intake {
  constructor(
    private readonly queues: Queues,
    private readonly policy: Policy,
  ) {}

  /** Resolves when Redis has it. @throws IO while Redis is away */
  async take(image: Pushed): Promise<Outcome> {
    const rules = rulesFor(this.policy, image);
    if (rules.length === 0) return 'unmatched';
    if (this.queues.redis.status !== 'ready')
      throw failure('IO', this.queues.address.name, 'it is away', 'send the event again');
    const { digest } = image;
    if (digest !== undefined && (await this.queues.redis.exists(this.queues.key('own', digest))) === 1)
      return 'own';
    const outcomes: Outcome[] = [];
    for (const rule of rules) outcomes.push(await this.enqueue(rule, image));
    return outcomes.includes('accepted') ? 'accepted' : 'duplicate';
  }

  /**
   * A job's id is made of the digest and of the job before it: the same event, told twice at the same time, is the same job, and a tag that goes back
   * to an older digest is a new one.
   */
  private async enqueue(rule: PolicyRule, image: Pushed): Promise<Outcome> {
    const list = { defaults: {}, entries: [jobFor(rule, image)] };
    const [job] = await planJobs(list, {}, () => {
      throw failure('USAGE', rule.entry.where, 'a name has a hole in it');
    });
    const { redis } = this.queues;
    const accepted = `${this.queues.address.prefix}:accepted`;
    const before = await redis.hget(accepted, job!.key);
    const [digest, id = ''] = before?.split(' ') ?? [];
    const isKnown = image.digest === undefined || digest === image.digest;
    if (before !== null && isKnown && (await this.isGood(id, image.digest))) return 'duplicate';
    const name = JSON.stringify([job!.key, image.digest ?? null, before]);
    const next = jobId(createHash('sha256').update(name).digest('hex').slice(0, 32));
    await this.queues.add(next, jobData(job!), rule.priority);
    await redis.hset(accepted, job!.key, `${image.digest ?? ''} ${next}`);
    return 'accepted';
  }

  /** Whether a job makes another one needless: not one that failed, and where nobody says a digest, not one that has ended. */
  private async isGood(id: string, digest: string | undefined): Promise<boolean> {
    const [finished, reason] = await this.queues.redis.hmget(
      this.queues.jobKey(id),
      'finishedOn',
      'failedReason',
    );
    if (digest === undefined)
      return finished == null && (await this.queues.redis.exists(this.queues.jobKey(id))) === 1;
    return finished == null || reason == null;
  }
}
