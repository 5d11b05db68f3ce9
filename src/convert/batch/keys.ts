import { failure } from '../../errors';
import { parseByteSize } from '../../format/byte-size';
import { describeValue, optionsOf, wantedInstead, type OptionRule } from '../../options';
import type { ConvertOptions } from '../convert-options';

/** A key of a job: the long name of a flag of `convert`, and what it stands for. */
interface BatchKey {
  rule: OptionRule;
  option: keyof ConvertOptions;
  /** False for what changes how a result is got and not the result: then a finished job is done, whatever this was. */
  shapesResult: boolean;
  /** The key that says the opposite; of the two, the one nearer to the job counts. */
  rival?: string;
}

const rules: Readonly<Record<string, OptionRule>> = optionsOf.convertImage;

/** Every key of a job beside `source`, `destination`, `repos` and `tags`. */
export const batchKeys: ReadonlyMap<string, BatchKey> = new Map(
  Object.entries(rules)
    .filter(([, { job, flag }]) => job !== undefined && flag !== undefined)
    .map(([option, rule]) => [rule.flag!, keyOf(option as keyof ConvertOptions, rule)]),
);

function keyOf(option: keyof ConvertOptions, rule: OptionRule): BatchKey {
  const rival = rule.rival === undefined ? undefined : rules[rule.rival]?.flag;
  return { rule, option, shapesResult: rule.job === 'shapes', ...(rival !== undefined && { rival }) };
}

/** The value of `key` as ConvertOptions have it. USAGE, about `what`, for one of the wrong kind. */
export function checkedValue(what: string, key: string, value: unknown): unknown {
  const { rule } = batchKeys.get(key)!;
  if (rule.kind === 'size' && typeof value === 'string') parseByteSize(value, what);
  const wanted = wantedInstead(rule, value);
  if (wanted === null) return value;
  const form = rule.kind === 'texts' ? `text or ${wanted}` : wanted;
  throw failure('USAGE', what, `"${key}" must be ${form}, not ${describeValue(value)}`);
}

/**
 * `base`, overridden by `over`. An option of `over` also removes its opposite from `base`, and one that `over` turns off removes the options
 * of `base` that need it.
 */
export function mergeOptions(base: ConvertOptions, over: ConvertOptions): ConvertOptions {
  const merged: ConvertOptions = { ...base };
  for (const { option, rival } of batchKeys.values()) {
    if (rival === undefined || !isSaid(over[option])) continue;
    Object.assign(merged, { [batchKeys.get(rival)!.option]: undefined });
  }
  for (const { option, rule } of batchKeys.values()) {
    const needed = rule.needs as keyof ConvertOptions | undefined;
    if (needed !== undefined && over[needed] === false) Object.assign(merged, { [option]: undefined });
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

/** The options that change the result, in a fixed order: two jobs that ask for the same result give equal lists. */
export function shapeOf(options: ConvertOptions): [string, unknown][] {
  return [...batchKeys]
    .filter(([, { option, shapesResult }]) => shapesResult && options[option] !== undefined)
    .map(([name, { option }]) => [name, options[option]]);
}
