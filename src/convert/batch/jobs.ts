import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { failure, SeekableErofsError } from '../../errors';
import { placesMeantBy } from '../../image-name';
import { settingsOf } from '../../layer/encode';
import { checkReferenceName, parseReference, type Reference } from '../../oci/reference';
import { batchKeys, mergeOptions, shapeOf } from './keys';
import type { BatchEntry, BatchList } from './list';
import { expandTemplate, isTemplate, type RegistryNames } from './template';
import type { ConvertOptions } from '../convert-options';
import { refuseNoEffect, withoutNoEffect } from '../no-effect';

/** One conversion of a batch. */
export interface BatchJob {
  source: string;
  destination: string;
  options: ConvertOptions;
  /** The same for the same source, destination and result asked for, in every run; the journal's name of the job. */
  key: string;
}

const maxJobs = 100_000;

/**
 * The jobs of a list, templates expanded; what a job says goes before the list's defaults, and these before `defaults`. All are checked
 * before the first one begins.
 * @throws USAGE, with the line, for what can't be converted, or for two jobs that write the same image; as expandTemplate()
 */
export async function planJobs(
  list: BatchList,
  defaults: ConvertOptions,
  registryFor: (options: ConvertOptions) => RegistryNames,
): Promise<BatchJob[]> {
  const jobs: BatchJob[] = [];
  const writers = new Map<string, string>();
  const shared = mergeOptions(defaults, list.defaults);
  for (const entry of list.entries) {
    const options = mergeOptions(shared, entry.options);
    const entries = isTemplate(entry) ? expandTemplate(entry, registryFor(options)) : [entry];
    for await (const one of entries) {
      const job = located(one.where, () => planJob(one, options, writers));
      if (jobs.push(job) > maxJobs) throw failure('USAGE', one.where, `it has more than ${maxJobs} jobs`);
    }
  }
  refuseUnused(shared, jobs);
  return jobs;
}

/** What is said for all jobs is left out where it can do nothing: somewhere it must do something. */
function refuseUnused(shared: ConvertOptions, jobs: readonly BatchJob[]): void {
  for (const [flag, { option }] of batchKeys) {
    if (shared[option] === undefined || jobs.some(({ options }) => option in options)) continue;
    throw failure('USAGE', `--${flag}`, 'it has no effect on any job of the list', 'leave it out');
  }
}

function planJob(entry: BatchEntry, options: ConvertOptions, writers: Map<string, string>): BatchJob {
  const { source, destination, where } = entry;
  settingsOf(options);
  const [from, to] = [checkedSource(source), checkedDestination(destination)];
  refuseNoEffect(destination, from, to, entry.options);
  const places = [placeOf(from), placeOf(to)];
  const written = writtenPlace(to, places);
  const other = writers.get(written);
  if (other !== undefined) {
    const hint = 'give each its own destination';
    throw failure('USAGE', destination, `another job writes it too: ${other}`, hint);
  }
  writers.set(written, where);
  const identity = JSON.stringify([...places, shapeOf(options)]);
  const key = createHash('sha256').update(identity).digest('hex').slice(0, 32);
  return { source, destination, options: withoutNoEffect(from, to, options), key };
}

function checkedSource(text: string): Reference {
  const reference = checkedImage(text);
  if (reference.transport !== 'erofs-cache') return reference;
  throw failure('USAGE', text, 'erofs-cache: is a destination only');
}

function checkedDestination(text: string): Reference {
  const reference = checkedImage(text);
  if (reference.transport === 'docker-archive')
    throw failure('USAGE', text, 'docker-archive: is a source only');
  if ('reference' in reference) checkReferenceName(reference.reference);
  return reference;
}

function checkedImage(text: string): Reference {
  const reference = parseReference(text);
  if (reference.transport === 'http' || reference.transport === 'file') {
    const hint = placesMeantBy(text) ?? 'docker://host/repo:tag, oci:DIR:REF …';
    throw failure('USAGE', text, 'not an image reference', hint);
  }
  if ('path' in reference && reference.path === '-') {
    throw failure('USAGE', text, 'a batch has no use for standard input and output', 'name a file');
  }
  return reference;
}

/** A reference, made the same for the same place: written out where a registry has defaults, absolute where it is a path. */
function placeOf(reference: Reference): string {
  const place = 'path' in reference ? { ...reference, path: resolve(reference.path) } : reference;
  return JSON.stringify(place, Object.keys(place).sort());
}

/** What one job alone may write: of an archive all of it, of a cache, which has a file for each layer, what the source leads to. */
function writtenPlace(to: Reference, [source = '', destination = '']: string[]): string {
  if (to.transport === 'oci-archive') return resolve(to.path);
  return to.transport === 'erofs-cache' ? `${destination} ${source}` : destination;
}

/** Adds the entry to what an error is about. */
function located<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    const { code, what, why, hint } = error;
    throw failure(code, where, `${what}: ${why}`, hint);
  }
}
