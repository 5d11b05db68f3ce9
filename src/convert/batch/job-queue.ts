import type { SeekableErofsError } from '../../errors';
import type { JobOptions, WarningOptions } from '../../job';
import type { ConvertResult } from '../convert-result';
import type { BatchJob } from './jobs';

/** What the work on one job tells. */
export interface JobCall extends JobOptions, WarningOptions {
  signal: AbortSignal;
  /** The work begins. */
  onStart: () => void;
  /** It failed for a reason that may pass, and begins again. */
  onRetry: () => void;
}

/**
 * What works on the jobs of a batch, and remembers which are done: this process with a journal beside the list, or the workers of a queue in
 * Redis (src/service/). A batch is the same above either.
 */
export interface JobQueue {
  /** How many jobs the batch may have under way. */
  readonly atOnce: number;
  /** What an earlier run has made of a job that is done: its digest, null where there is none; undefined for a job that isn't done. */
  digestOf(job: BatchJob): Promise<string | null | undefined>;
  /**
   * The conversion's result, or the error that ended it, when either is kept. Rejects when the batch is cancelled, when the queue can't be
   * used any more, or by a fault of the program.
   */
  perform(job: BatchJob, call: JobCall): Promise<ConvertResult | SeekableErofsError>;
  close(): Promise<void>;
}
