import { availableParallelism } from 'node:os';
import { failure, SeekableErofsError } from '../../errors';
import { openFilesLimit } from '../../fs/open-files';
import type { ProgressEvent, ResourceOptions, WarningOptions } from '../../job';
import type { Sharing, StoredParts } from '../../image/sharing';
import { checkOptions } from '../../options';
import { publicName } from '../../public-name';
import { messageOf, type BatchError } from './batch-error';
import type { JobQueue } from './job-queue';
import { planJobs, type BatchJob } from './jobs';
import { JournalQueue, type LocalParts } from './journal-queue';
import { BatchTally, type BatchSummary } from './tally';
import type { RegistryNames } from './template';
import type { ConvertOptions } from '../convert-options';
import type { ConvertResult } from '../convert-result';
import { convertImage } from '../image';
import { runTogether } from '../together';

/** How far one job of a batch is; `job` is its place in the list (from 0), templates expanded. */
export interface BatchProgressEvent extends ProgressEvent {
  job: number;
}

/** A job of a batch that begins, or has an end. */
export interface BatchJobEvent {
  job: number;
  source: string;
  destination: string;
  /** `retried`: it failed for a reason that may pass, and begins again. */
  state: 'started' | 'retried' | 'done' | 'failed' | 'skipped';
  /** Why, of a job that failed. */
  error?: BatchError;
  /** What became of a job that is done. */
  result?: ConvertResult;
  /** How many jobs have an end now, and how many there are. */
  ended: number;
  total: number;
}

/** How a batch is run. */
export interface BatchOptions extends Pick<ResourceOptions, 'signal' | 'threads' | 'tmpDir'>, WarningOptions {
  /** For all jobs; what the list says goes before it. */
  defaults?: ConvertOptions | undefined;
  /** Images at once, as far as the limit of open files allows; default: four for each core, 16 at most. How many layers are open at once does not depend on it. */
  jobs?: number | undefined;
  /** Forgets what the journal says is done. */
  restart?: boolean | undefined;
  /** Say how much the images have in common, those that were done before as well: their manifests and tables are read for it. */
  report?: boolean | undefined;
  /** Called a few times a second at most for each layer. */
  onProgress?: ((event: BatchProgressEvent) => void) | undefined;
  /** Called when a job begins, is tried again, and ends. */
  onJob?: ((event: BatchJobEvent) => void) | undefined;
}

/** What became of a job; `digest` is null where the destination has none (`erofs-cache:`). */
export type BatchJobResult = { source: string; destination: string } & (
  { status: 'done' | 'skipped'; digest: string | null } | { status: 'failed'; error: BatchError }
);

/** What became of a batch. */
export interface BatchResult {
  /** In the order of the list. */
  jobs: BatchJobResult[];
  /** Only when it was asked for. */
  sharing?: Sharing;
  summary: BatchSummary;
}

/** What a batch is made of; tests, and batches of a fleet, put other things in their places. */
export interface BatchParts extends LocalParts {
  registryFor: (options: ConvertOptions) => RegistryNames;
  /** What works on the jobs; this process with a journal, where nothing is said. */
  openQueue?: (file: string, options: BatchOptions) => Promise<JobQueue>;
}

/** Loaded for templates alone: HTTP and TLS take long to load. */
const registryNames = () => import('../../store/registry/names.js');

/** The stores try a request a few times by themselves: what fails in spite of that needs a longer pause. */
export const batchParts: BatchParts = {
  convert: convertImage,
  registryFor: (options) => ({
    async *catalogue(host) {
      yield* (await registryNames()).listRepositories(host, options);
    },
    async *tags(place) {
      yield* (await registryNames()).listTags(place, options);
    },
  }),
  retry: { attempts: 3, firstPause: 2000 },
};

/**
 * Converts the images of a list (docs/batch.md), several at once. `FILE.journal` records what is done: a run that was ended, in whatever
 * way, goes on where it was. A job that fails does not end the others: it is in the result.
 * @throws {SeekableErofsError} USAGE for a list that makes no sense; CORRUPT, UNSUPPORTED, FAILED, IO when the journal can't be
 * used; CANCELLED
 */
export function convertBatch(file: string, options: BatchOptions = {}): Promise<BatchResult> {
  return runBatch(file, options, batchParts);
}

/** convertBatch() with other parts. */
export async function runBatch(file: string, options: BatchOptions, using: BatchParts): Promise<BatchResult> {
  checkOptions('convertBatch', options);
  checkOptions('convertImage', options.defaults ?? {});
  const started = performance.now();
  const { readBatchList } = await import('./list.js'); // the YAML library takes long to load
  const list = await readBatchList(file);
  const jobs = await planJobs(list, options.defaults ?? {}, (chosen) =>
    using.registryFor({ ...chosen, signal: options.signal }),
  );
  const { threads, tmpDir, restart } = options;
  const queue = await (using.openQueue?.(file, options) ??
    JournalQueue.open(file, { atOnce: imagesAtOnce(options), threads, tmpDir, restart }, using));
  try {
    const run = new BatchRun(file, jobs, queue, options);
    await run.all();
    const result = run.result((performance.now() - started) / 1000);
    if (options.report !== true) return result;
    return { ...result, sharing: await readSharing(jobs, result.jobs, options.signal) };
  } finally {
    await queue.close();
  }
}

/** What the program and the layers under way have open, whatever the number of images. */
const ownFiles = 96;
/** Of one image: its source, and an archive's blobs that wait to be written. */
const filesOfImage = 32;

/** How many images can be under way before there are too many open files for the system. Exported for its test. */
export function maxImagesAtOnce(limit = openFilesLimit()): number {
  return Math.max(1, Math.floor((limit - ownFiles) / filesOfImage));
}

/** Most of what a small image takes is waiting for the disk: others fill the cores meanwhile. */
const defaultJobs = (): number => Math.min(16, 4 * availableParallelism());

/** USAGE for a number that is none. */
export function imagesAtOnce({ jobs = defaultJobs() }: Pick<BatchOptions, 'jobs'>): number {
  if (!Number.isSafeInteger(jobs) || jobs < 1) {
    throw failure('USAGE', 'jobs', `${jobs} is no number of images`, 'give 1 or more');
  }
  return Math.min(jobs, maxImagesAtOnce());
}

class BatchRun {
  private readonly tally = new BatchTally();
  private readonly results: BatchJobResult[] = [];
  private next = 0;
  private ended = 0;

  constructor(
    private readonly file: string,
    private readonly jobs: BatchJob[],
    private readonly queue: JobQueue,
    private readonly options: BatchOptions,
  ) {}

  /** Ends with the first error that is not a job's own: cancellation, and a queue that can't be used. */
  async all(): Promise<void> {
    const workers = Array.from({ length: Math.min(this.queue.atOnce, this.jobs.length) });
    await runTogether(workers, this.options.signal, (_worker, runSignal) => this.work(runSignal));
  }

  result(seconds: number): BatchResult {
    const count = (wanted: BatchJobResult['status']): number =>
      this.results.filter(({ status }) => status === wanted).length;
    const counts = { done: count('done'), skipped: count('skipped'), failed: count('failed') };
    return { jobs: this.results, summary: this.tally.summary(counts, seconds) };
  }

  /** Takes jobs until there are no more. */
  private async work(signal: AbortSignal): Promise<void> {
    while (this.next < this.jobs.length) {
      if (signal.aborted) throw failure('CANCELLED', this.file, 'cancelled');
      const index = this.next++;
      await this.runJob(index, this.jobs[index]!, signal);
    }
  }

  private async runJob(index: number, job: BatchJob, signal: AbortSignal): Promise<void> {
    const names = namesOf(job);
    const digest = await this.queue.digestOf(job);
    if (digest !== undefined) {
      this.end(index, { ...names, status: 'skipped', digest });
      return;
    }
    const { onWarning, onProgress } = this.options;
    const outcome = await this.queue.perform(job, {
      signal,
      onWarning: (line) => onWarning?.(`${names.source}: ${line}`),
      onProgress: (event) => onProgress?.({ ...event, job: index }),
      onStart: () => {
        this.tell(index, 'started');
      },
      onRetry: () => {
        this.tell(index, 'retried');
      },
    });
    if (outcome instanceof SeekableErofsError) {
      const error = { code: outcome.code, message: messageOf(outcome) };
      this.end(index, { ...names, status: 'failed', error }, { error });
    } else {
      this.tally.add(outcome);
      this.end(index, { ...names, status: 'done', digest: outcome.digest }, { result: outcome });
    }
  }

  private end(
    index: number,
    result: BatchJobResult,
    more: Pick<BatchJobEvent, 'error' | 'result'> = {},
  ): void {
    this.results[index] = result;
    this.ended++;
    this.tell(index, result.status, more);
  }

  private tell(
    job: number,
    state: BatchJobEvent['state'],
    more: Pick<BatchJobEvent, 'error' | 'result'> = {},
  ): void {
    const { source, destination } = namesOf(this.jobs[job]!);
    const { ended } = this;
    this.options.onJob?.({ job, source, destination, state, ended, total: this.jobs.length, ...more });
  }
}

/** Of the images that are there now, each once; caches of layers have no manifests. */
async function readSharing(
  jobs: readonly BatchJob[],
  results: readonly BatchJobResult[],
  signal: AbortSignal | undefined,
): Promise<Sharing> {
  const { sharingOf, StoredParts } = await import('../../image/sharing.js');
  const named = new Map<string, StoredParts>();
  for (const [i, { destination, options }] of jobs.entries()) {
    const result = results[i]!;
    const reference = publicName(destination);
    if (result.status === 'failed' || result.digest === null || named.has(reference)) continue;
    const { authFile, certDir, insecureHttp, retryTime } = options;
    const access = { authFile, certDir, insecureHttp, retryTime, signal };
    named.set(reference, await StoredParts.read(destination, access));
  }
  return sharingOf([...named].map(([reference, parts]) => ({ reference, parts })));
}

/** What people are told of a job. */
function namesOf({ source, destination }: BatchJob): Pick<BatchJob, 'source' | 'destination'> {
  return { source: publicName(source), destination: publicName(destination) };
}
