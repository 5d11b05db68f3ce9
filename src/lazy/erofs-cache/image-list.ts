import { writeFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { fromSystemError } from '../../errors';
import { maxListSize, parseJson } from '../../format/json';
import { writeAtomically } from '../../fs/atomic-file';
import { checkRecordVersion } from '../../fs/record-version';
import type { LazyLayerRequest } from '../messages';

/** A layer as the cache shows it. */
export interface CachedLayer {
  /** The name that it has there: the DiffID that an image says, of a tar perhaps. */
  name: string;
  /** What is served under it; `diffId` is that of the EROFS image. */
  request: LazyLayerRequest;
}

/** An image whose layers the cache shows. */
export interface CachedImage {
  reference: string;
  /** Of what the reference named. */
  digest: string;
  layers: CachedLayer[];
  /** When somebody asked for it, or it was seen mounted; in milliseconds, as of Date.now(). */
  lastUse: number;
}

/** To be raised when the list changes; earlier ones are read as well. */
const listVersion = 1;

/** What a list has; nothing where there is none. @throws UNSUPPORTED for what a newer server wrote, IO, CORRUPT */
export async function readImages(path: string): Promise<CachedImage[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  });
  if (bytes === null) return [];
  const list = parseJson(bytes, path, maxListSize) as { version?: unknown; images: CachedImage[] };
  checkRecordVersion(path, list.version, listVersion);
  return list.images;
}

/** Puts a list in the place of the one before. */
export async function writeImages(path: string, images: readonly CachedImage[]): Promise<void> {
  const text = `${JSON.stringify({ version: listVersion, images })}\n`;
  await writeAtomically(path, async ({ fd }) => {
    await promisify(writeFile)(fd, text);
  });
}
