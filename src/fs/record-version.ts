import { failure } from '../errors';

/**
 * Refuses a record whose format is of a later version than `known`: a newer program wrote it, and it may mean something else by it. One without
 * a version is from before there were any. docs/upgrading.md lists all formats.
 * @throws UNSUPPORTED
 */
export function checkRecordVersion(
  path: string,
  found: unknown,
  known: number,
  hint = 'use the release of seekable-erofs that wrote it, or a later one',
): void {
  if (found === undefined || (Number.isSafeInteger(found) && (found as number) <= known)) return;
  const why = `its format is of version ${JSON.stringify(found).slice(0, 20)}, this release knows up to version ${known}`;
  throw failure('UNSUPPORTED', path, why, hint);
}
