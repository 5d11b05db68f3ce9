import { realpath, stat } from 'node:fs/promises';
import { SeekableErofsError, failure, fromSystemError } from '../../errors';
import { lookUp, type FoundNode } from '../../erofs/tree-lookup';
import type { InputFile } from '../../fs/same-file';
import type { MergedNode, MergedTree } from '../merged-tree';

/** What is to be extracted of a tree. */
interface Extracted {
  tree: MergedTree;
  parts: readonly FoundNode<MergedNode>[];
}

/**
 * Refuses to extract into the folder `dir` where an entry would take the place of a file that is read for it. USAGE, before anything is
 * written.
 */
export async function refuseReplacedInputs(
  dir: string,
  inputs: readonly InputFile[],
  extracted: Extracted,
): Promise<void> {
  const folder = await identityOf(Buffer.from(dir));
  if (folder === null) return;
  for (const input of inputs) {
    const path = await pathBelow(folder, input);
    if (path === null || !(await isExtracted(path, extracted))) continue;
    const name = 'path' in input ? input.path : input.name;
    const why = `it has ${name}, which is read, and which an entry of the image would replace`;
    throw failure('USAGE', dir, why, 'extract into another folder');
  }
}

/** Where a file lies below a folder, as the paths of a tree are; null elsewhere, and for what is no file. */
async function pathBelow(folder: string, input: InputFile): Promise<string | null> {
  const named = 'path' in input ? input.path : `/proc/self/fd/${input.fd}`;
  const path = (await realpath(named, 'buffer').catch(() => null))?.toString('latin1');
  if (path === undefined) return null;
  for (let end = path.lastIndexOf('/'); end >= 0; end = path.lastIndexOf('/', end - 1)) {
    if ((await identityOf(Buffer.from(path.slice(0, end) || '/', 'latin1'))) === folder)
      return path.slice(end);
    if (end === 0) break;
  }
  return null;
}

/** Links are not followed, in the image as in the folder. */
async function isExtracted(path: string, { tree, parts }: Extracted): Promise<boolean> {
  const found = await lookUp(tree, Buffer.from(path, 'latin1'), false).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  });
  if (found?.path !== path) return false;
  // The folders above a part are made, too.
  return parts.some((part) => isWithin(path, part.path) || isWithin(part.path, path));
}

function isWithin(path: string, folder: string): boolean {
  return folder === '/' || path === folder || path.startsWith(`${folder}/`);
}

/** Device and inode of a folder; null when it is not there. */
async function identityOf(path: Buffer): Promise<string | null> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev} ${ino}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return null;
    throw fromSystemError(path.toString(), error);
  }
}
