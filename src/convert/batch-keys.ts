import { failure } from '../errors';
import { parseByteSize } from '../format/byte-size';
import type { ConvertOptions } from './convert-options';

/** How the value of a key is written. */
type ValueKind = 'boolean' | 'integer' | 'size' | 'text' | 'texts';

/** A key of a job: the long name of a flag of `convert`, and what it stands for. */
interface BatchKey {
  kind: ValueKind;
  option: keyof ConvertOptions;
  /** False for what changes how a result is got and not the result: then a finished job is done, whatever this was. */
  shapesResult: boolean;
  /** The key that says the opposite; of the two, the one nearer to the job counts. */
  rival?: string;
}

const shaping = (kind: ValueKind, option: keyof ConvertOptions, rival?: string): BatchKey => ({
  ...{ kind, option, shapesResult: true },
  ...(rival !== undefined && { rival }),
});

const other = (kind: ValueKind, option: keyof ConvertOptions): BatchKey => ({
  ...{ kind, option, shapesResult: false },
});

/** Every key of a job beside `source`, `destination`, `repos` and `tags`. */
export const batchKeys: ReadonlyMap<string, BatchKey> = new Map([
  ['profile', shaping('text', 'profile')],
  ['chunk-size', shaping('size', 'chunkSize')],
  ['level', shaping('integer', 'level')],
  ['dm-verity', shaping('boolean', 'dmVerity')],
  ['dm-verity-block-size', shaping('size', 'dmVerityBlockSize')],
  ['dm-verity-hash', shaping('text', 'dmVerityHash')],
  ['index', shaping('text', 'index')],
  ['no-compress', shaping('boolean', 'noCompress')],
  ['mkfs', shaping('text', 'mkfs', 'mkfs-tar-index')],
  ['mkfs-tar-index', shaping('boolean', 'mkfsTarIndex', 'mkfs')],
  ['platform', shaping('texts', 'platforms', 'all-platforms')],
  ['all-platforms', shaping('boolean', 'allPlatforms', 'platform')],
  ['append-to-index', shaping('boolean', 'appendToIndex')],
  ['os-features', shaping('boolean', 'osFeatures')],
  ['keep-foreign', shaping('boolean', 'keepForeign')],
  ['replace', other('boolean', 'replace')],
  ['cache', other('text', 'cache')],
  ['authfile', other('text', 'authFile')],
  ['cert-dir', other('text', 'certDir')],
  ['insecure-http', other('boolean', 'insecureHttp')],
  ['concurrency', other('integer', 'concurrency')],
  ['retry-time', other('integer', 'retryTime')],
]);

/** The value of `key` as ConvertOptions have it. USAGE, about `what`, for one of the wrong kind. */
export function checkedValue(what: string, key: string, value: unknown): unknown {
  const wanted = check[batchKeys.get(key)!.kind](value, what);
  if (wanted === null) return value;
  throw failure('USAGE', what, `"${key}" must be ${wanted}, not ${describe(value)}`);
}

const isText = (value: unknown): value is string => typeof value === 'string';

/** What a value must be that isn't; null for one that is. */
const check: Record<ValueKind, (value: unknown, what: string) => string | null> = {
  boolean: (value) => (typeof value === 'boolean' ? null : 'true or false'),
  integer: (value) => (Number.isSafeInteger(value) ? null : 'a whole number'),
  size: (value, what) => {
    if (isText(value)) parseByteSize(value, what);
    return isText(value) || Number.isSafeInteger(value) ? null : 'a size like 4MiB';
  },
  text: (value) => (isText(value) ? null : 'text'),
  texts: (value) => (Array.isArray(value) && value.every(isText) ? null : 'text or a list of texts'),
};

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  return isText(value) ? `"${value.slice(0, 40)}"` : String(value);
}

/** `base` with what `over` says in its place; what `over` says puts an end to its opposite in `base` as well. */
export function mergeOptions(base: ConvertOptions, over: ConvertOptions): ConvertOptions {
  const merged: ConvertOptions = { ...base };
  for (const { option, rival } of batchKeys.values()) {
    if (rival === undefined || !isSaid(over[option])) continue;
    Object.assign(merged, { [batchKeys.get(rival)!.option]: undefined });
  }
  return { ...merged, ...over };
}

/** Two keys of `options` that say opposite things; undefined when there are none. */
export function rivalsAmong(options: ConvertOptions): [string, string] | undefined {
  for (const [name, { option, rival }] of batchKeys) {
    if (rival === undefined || !isSaid(options[option])) continue;
    if (isSaid(options[batchKeys.get(rival)!.option])) return [name, rival];
  }
  return undefined;
}

const isSaid = (value: unknown): boolean => value !== undefined && value !== false;

/** The options that shape a result, in an order of their own: equal for options that ask for the same. */
export function shapeOf(options: ConvertOptions): [string, unknown][] {
  return [...batchKeys]
    .filter(([, { option, shapesResult }]) => shapesResult && options[option] !== undefined)
    .map(([name, { option }]) => [name, options[option]]);
}
