import { fromSystemError } from '../../errors';
import { checkOptions } from '../../options';
import { publicName } from '../../public-name';
import { planConversion, sumOf, type ConversionPlan } from '../plan';
import { runTogether } from '../together';
import { batchParts, imagesAtOnce, type BatchOptions } from './batch';
import { messageOf, type BatchError } from './batch-error';
import { planJobs, type BatchJob } from './jobs';
import { finishedJobs } from './journal';
import { isExpected, journalPath } from './journal-queue';

/** What would become of a job; one that the journal says is done is `skipped`, one whose source can't be read `failed`. */
export type PlannedJob =
  | ({ status: 'planned' } & ConversionPlan)
  | { status: 'skipped'; source: string; destination: string; digest: string | null }
  | { status: 'failed'; source: string; destination: string; error: BatchError };

/** What a batch would do; nothing was written to find it out. */
export interface BatchPlan {
  /** In the order of the list. */
  jobs: PlannedJob[];
  /** Of all jobs, each taken for itself: what images share is counted with each of them, and converted once. */
  total: ConversionPlan['total'];
}

/**
 * Finds out what convertBatch() would do with a list, each image as planConversion() does. The journal is read, and neither locked nor changed.
 * @throws as convertBatch()
 */
export async function planBatch(
  file: string,
  options: Omit<BatchOptions, 'report' | 'onProgress' | 'onJob'> = {},
): Promise<BatchPlan> {
  checkOptions('convertBatch', options);
  checkOptions('convertImage', options.defaults ?? {});
  const { signal, restart = false } = options;
  const { readBatchList } = await import('./list.js'); // the YAML library takes long to load
  const list = await readBatchList(file);
  const listed = await planJobs(list, options.defaults ?? {}, (chosen) =>
    batchParts.registryFor({ ...chosen, signal }),
  );
  const finished = restart ? new Map<string, string | null>() : await finishedJobs(journalPath(file));
  const jobs: PlannedJob[] = [];
  let next = 0;
  const workers = Array.from({ length: Math.min(imagesAtOnce(options), listed.length) });
  await runTogether(workers, signal, async (_worker, runSignal) => {
    while (next < listed.length) {
      const index = next++;
      jobs[index] = await planJob(listed[index]!, finished, { ...options, signal: runSignal });
    }
  });
  return { jobs, total: sumOf(jobs.flatMap((job) => (job.status === 'planned' ? [job.total] : []))) };
}

async function planJob(
  { key, source, destination, options }: BatchJob,
  finished: ReadonlyMap<string, string | null>,
  { threads, tmpDir, signal, onWarning }: BatchOptions,
): Promise<PlannedJob> {
  const names = { source: publicName(source), destination: publicName(destination) };
  const digest = finished.get(key);
  if (digest !== undefined) return { ...names, status: 'skipped', digest };
  try {
    const own = { threads, tmpDir, signal, onWarning };
    return { status: 'planned', ...(await planConversion(source, destination, { ...options, ...own })) };
  } catch (error) {
    if (signal?.aborted === true || !isExpected(error)) throw error;
    const failed = fromSystemError(source, error);
    return { ...names, status: 'failed', error: { code: failed.code, message: messageOf(failed) } };
  }
}
