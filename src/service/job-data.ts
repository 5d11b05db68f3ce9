import { resolve } from 'node:path';
import { failure, SeekableErofsError, exitCodes, type ErrorCode } from '../errors';
import { batchKeys, checkedValue } from '../convert/batch/keys';
import type { BatchJob } from '../convert/batch/jobs';
import type { ConvertOptions } from '../convert/convert-options';
import { messageOf } from '../convert/batch/batch-error';
import { parseReference } from '../oci/reference';
import { transientFaultOf } from '../source/transient';

/** What a job in Redis says: plain JSON, since whoever may write there has written it. */
export interface ImageJobData {
  source: string;
  destination: string;
  /** By the long names of flags, as in a list. */
  options: Record<string, unknown>;
  /** The layers are worked on apart, or have been. */
  isSplit?: boolean | undefined;
}

/** One layer of an image, by its places in the plan. */
export interface LayerJobData extends ImageJobData {
  image: number;
  layer: number;
}

/** What a worker needs of a job. */
export function jobData({ source, destination, options }: BatchJob): ImageJobData {
  const said: Record<string, unknown> = {};
  for (const [flag, { option, rule }] of batchKeys) {
    const value = options[option];
    const isPath = rule.kind === 'file' && typeof value === 'string' && value !== 'auto';
    if (value !== undefined) said[flag] = isPath ? resolve(value) : value;
  }
  return { source: absolute(source), destination: absolute(destination), options: said };
}

/** Workers have folders of their own. */
function absolute(text: string): string {
  const reference = parseReference(text);
  if (!('path' in reference) || reference.transport === 'file') return text;
  const name = 'reference' in reference ? `:${reference.reference}` : '';
  return `${reference.transport}:${resolve(reference.path)}${name}`;
}

/** The options of a job that came from Redis. USAGE for one that this release does not know, and for values that make no sense. */
export function jobOptions(what: string, { options }: Pick<ImageJobData, 'options'>): ConvertOptions {
  const known: ConvertOptions = {};
  for (const [flag, value] of Object.entries(options)) {
    const key = batchKeys.get(flag);
    if (key === undefined)
      throw failure('USAGE', what, `this worker knows no "${flag}"`, 'a job of a later release?');
    Object.assign(known, { [key.option]: checkedValue(what, flag, value) });
  }
  return known;
}

/** The names of a job that came from Redis. USAGE where there are none. */
export function checkJobData(what: string, data: Partial<ImageJobData>): ImageJobData {
  const { source, destination, options } = data;
  if (typeof source !== 'string' || typeof destination !== 'string' || typeof options !== 'object')
    throw failure('USAGE', what, 'it is no job of this program');
  return data as ImageJobData;
}

/** `CODE: WHAT: WHY (HINT)`, as a job's reason is kept. */
export function reasonOf(error: unknown): string {
  if (error instanceof SeekableErofsError) return `${error.code}: ${messageOf(error)}`;
  return `FAILED: internal error: ${error instanceof Error ? error.message : String(error)}`;
}

/** Whether what failed may work later. */
export function mayPass(error: unknown): boolean {
  return transientFaultOf(error) !== null;
}

/** The error that a reason stands for. */
export function errorOf(source: string, reason: string): SeekableErofsError {
  const [, code = '', text = reason] = /^([A-Z_]+): (.*)$/s.exec(reason) ?? [];
  const known = Object.hasOwn(exitCodes, code) ? (code as ErrorCode) : 'FAILED';
  const [, what = source, why = text] = /^(.+?): (.*)$/s.exec(text) ?? [];
  return failure(known, what, known === 'FAILED' && code === '' ? text : why);
}
