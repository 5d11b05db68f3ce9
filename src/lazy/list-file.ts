import { writeFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { fromSystemError } from '../errors';
import { maxListSize, parseJson } from '../format/json';
import { writeAtomically } from '../fs/atomic-file';
import { checkRecordVersion } from '../fs/record-version';

/** What a list that servers keep on disk looks like: `{"version":1,"layers":[…]}`. */
interface ListFormat {
  /** To be raised when the list changes; earlier ones are read as well, as a newer server goes on with an older one's. */
  version: number;
  name: string;
}

/** What a list has; nothing where there is none. @throws UNSUPPORTED for what a newer server wrote, IO, CORRUPT */
export async function readList<T>(path: string, { version, name }: ListFormat): Promise<T[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  });
  if (bytes === null) return [];
  const found = parseJson(bytes, path, maxListSize) as Record<string, unknown>;
  checkRecordVersion(path, found['version'], version);
  return found[name] as T[];
}

/** Puts a list in the place of the one before. */
export async function writeList(
  path: string,
  { version, name }: ListFormat,
  list: readonly object[],
): Promise<void> {
  const text = `${JSON.stringify({ version, [name]: list })}\n`;
  await writeAtomically(path, async ({ fd }) => {
    await promisify(writeFile)(fd, text);
  });
}
