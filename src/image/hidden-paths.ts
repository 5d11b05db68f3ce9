import { SeekableErofsError } from '../errors';
import { openErofs, type ErofsFilesystem } from '../erofs/filesystem';
import type { ByteSource } from '../source/byte-source';
import { directoryMarks } from './overlay-rules';

/** What a layer does to a path of the layers below it. */
type Effect = 'none' | 'directory' | 'hides';

/**
 * Which files of the layers below an image hides, of those at `paths` (bytes from the root, without the slash before them): by something else
 * of that name, by a whiteout, or by a parent that is opaque or no directory. Returns their indices.
 */
export async function hiddenBelow(source: ByteSource, paths: readonly Uint8Array[]): Promise<number[]> {
  if (paths.length === 0) return [];
  const image = await openErofs(source);
  const effects = new Map<string, Promise<Effect>>();
  const effectOf = (path: string): Promise<Effect> => {
    const known = effects.get(path) ?? effectAt(image, path, effectOf);
    effects.set(path, known);
    return known;
  };
  const hidden: number[] = [];
  for (const [i, path] of paths.entries()) {
    const text = Buffer.from(path).toString('latin1');
    const parent = await effectOf(parentOf(text));
    const isHidden = parent === 'directory' ? (await typeAt(image, text)) !== null : parent === 'hides';
    if (isHidden) hidden.push(i);
  }
  return hidden;
}

/** Of a directory of the layers below. */
async function effectAt(
  image: ErofsFilesystem,
  path: string,
  effectOf: (path: string) => Promise<Effect>,
): Promise<Effect> {
  if (path !== '') {
    const parent = await effectOf(parentOf(path));
    if (parent !== 'directory') return parent;
    const type = await typeAt(image, path);
    if (type === null) return 'none';
    if (type !== 'dir') return 'hides';
  }
  return directoryMarks(await image.xattrs(absolute(path))).opaque ? 'hides' : 'directory';
}

async function typeAt(image: ErofsFilesystem, path: string): Promise<string | null> {
  try {
    return (await image.lstat(absolute(path))).type;
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

const absolute = (path: string): Buffer => Buffer.from(`/${path}`, 'latin1');
const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
