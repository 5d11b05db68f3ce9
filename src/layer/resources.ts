import { availableParallelism, tmpdir } from 'node:os';
import { failure } from '../errors';
import type { ResourceOptions } from '../job';
import { maxThreads } from '../options';

/** What native calls need of a caller's options, defaults filled in. USAGE for a number of threads that can't be. */
export function resourcesOf({ threads, tmpDir }: ResourceOptions): { threads: number; tmpDir: string } {
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1 || threads > maxThreads))
    throw failure('USAGE', 'threads', `${threads} is no number from 1 to ${maxThreads}`);
  return { threads: threads ?? availableParallelism(), tmpDir: tmpDir ?? tmpdir() };
}
