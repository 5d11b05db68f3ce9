import { failure } from '../errors';
import { unescapePath } from '../format/escaped-path';
import type { MergedTree } from './merged-tree';
import { withView, type ViewOptions } from './open-view';
import { lookUp } from '../erofs/tree-lookup';
import { checkSubjects } from './subject';
import { checkOptions } from '../options';

/** Bytes read at once. Offsets are multiples of it, so that the clusters of files compressed inside are decoded once. */
const pieceSize = 1 << 20;

/**
 * Reads one file out of an image or a layer, or several one after the other, fetching only what holds them; symlinks are followed inside of the image. `write` gets its bytes
 * in order, and may end the reading by returning false. NOT_FOUND names a path that is not there, FAILED one that is no file.
 */
export async function readImageFile(
  refOrPath: string,
  path: string | readonly string[],
  write: (bytes: Buffer) => Promise<boolean>,
  options: ViewOptions = {},
): Promise<void> {
  checkOptions('readImageFile', options);
  checkSubjects([refOrPath], options);
  await withView(refOrPath, options, async ({ tree }) => {
    for (const one of typeof path === 'string' ? [path] : path) {
      if (!(await readFile(tree, one, write))) return;
    }
  });
}

/** Whether more is wanted. */
async function readFile(
  tree: MergedTree,
  path: string,
  write: (bytes: Buffer) => Promise<boolean>,
): Promise<boolean> {
  const { node } = await lookUp(tree, unescapePath(path), true);
  const { type, size } = node.inode;
  if (type !== 'file') throw failure('FAILED', path, `it is ${described[type]}, not a file`);
  let next = tree.read(node, 0, pieceSize);
  for (let offset = 0; offset < size; offset += pieceSize) {
    const bytes = await next;
    // The next piece is fetched while this one is written.
    next = tree.read(node, offset + pieceSize, pieceSize);
    next.catch(() => undefined);
    if (!(await write(bytes))) return false;
  }
  return true;
}

const described = {
  dir: 'a directory',
  symlink: 'a symbolic link',
  char: 'a device',
  block: 'a device',
  fifo: 'a FIFO',
  socket: 'a socket',
} as const;
