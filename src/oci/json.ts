import { failure, type SeekableErofsError } from '../errors';
import { parseJson } from '../format/json';

/** The checks that every untrusted object of the OCI formats goes through. */

/** An object of unknown members. */
export type JsonObject = Record<string, unknown>;

/**
 * Parses bytes that must hold one JSON object.
 * @throws CORRUPT; UNSUPPORTED as parseJson()
 */
export function parseJsonObject(bytes: Uint8Array, what: string, maxSize?: number): JsonObject {
  return asObject(parseJson(bytes, what, maxSize), what);
}

/** The object that `value` must be. */
export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw corrupt(what, 'not a JSON object');
  return value as JsonObject;
}

/**
 * The array that member `name` must be. null is an empty one: Go programs write it for a list without elements.
 * @throws CORRUPT, UNSUPPORTED above `limit` elements.
 */
export function arrayMember(object: JsonObject, name: string, limit: number, what: string): unknown[] {
  const value = object[name] ?? (name in object ? [] : undefined);
  if (!Array.isArray(value)) throw corrupt(what, `"${name}" is not an array`);
  if (value.length > limit)
    throw failure('UNSUPPORTED', what, `${value.length} ${name}, the limit is ${limit}`);
  return value;
}

/** Checks that member `name` is a string. */
export function checkString(object: JsonObject, name: string, what: string): void {
  if (typeof object[name] !== 'string') throw corrupt(what, `"${name}" is not a string`);
}

/** Checks that each of `names` that is there is a string. */
export function checkOptionalStrings(object: JsonObject, names: string[], what: string): void {
  for (const name of names) if (name in object) checkString(object, name, what);
}

/** Checks that member `name`, if it is there, is an array of strings. */
export function checkOptionalStringArray(object: JsonObject, name: string, what: string): void {
  if (!(name in object)) return;
  const value = object[name];
  if (!Array.isArray(value) || !value.every((element) => typeof element === 'string')) {
    throw corrupt(what, `"${name}" is not an array of strings`);
  }
}

/** Checks that member `name`, if it is there, is an object whose values are strings. */
export function checkOptionalStringMap(object: JsonObject, name: string, what: string): void {
  if (!(name in object)) return;
  const entries = Object.values(asObject(object[name], `${what}, ${name}`));
  if (!entries.every((value) => typeof value === 'string'))
    throw corrupt(what, `a value in "${name}" is not a string`);
}

/** A copy without those of `names` that are null, which Go programs write for "absent". */
export function withoutNulls(object: JsonObject, names: string[]): JsonObject {
  return Object.fromEntries(
    Object.entries(object).filter(([name, value]) => value !== null || !names.includes(name)),
  );
}

/** A copy without the members of these names. */
export function omit<T extends object, K extends string>(object: T, ...names: K[]): Omit<T, K> {
  const kept = Object.entries(object).filter(([name]) => !(names as string[]).includes(name));
  return Object.fromEntries(kept) as Omit<T, K>;
}

/** An error for bytes that break their format. */
export function corrupt(what: string, why: string): SeekableErofsError {
  return failure('CORRUPT', what, why);
}
