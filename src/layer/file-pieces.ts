import { SeekableErofsError } from '../errors';
import { openErofs } from '../erofs/filesystem';
import type { ByteSource } from '../source/byte-source';
import type { FilePieces } from './chunk-borders';

/**
 * Where the data of an EROFS image's files lies, for chunkBorders(): of an image that was not built here, every inode is read for it. Data that
 * is compressed, on other devices, behind inodes, or in the data of another file as well, is no piece of its own; an image that needs what is
 * not here, other devices or features, has none. Errors as openErofs().
 */
export async function readFilePieces(image: ByteSource, signal?: AbortSignal): Promise<FilePieces> {
  const tree = await openErofs(image, { signal }).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && (error.code === 'UNSUPPORTED' || error.code === 'USAGE'))
      return null;
    throw error;
  });
  if (tree === null) return new Float64Array();
  const found: { address: number; length: number }[] = [];
  for await (const { inode } of tree.walk()) {
    if (inode.type !== 'file') continue;
    for await (const { source, address, length, inline } of tree.extentsOf(inode))
      if (source === image && inline !== true) found.push({ address, length });
  }
  found.sort((a, b) => a.address - b.address || b.length - a.length);
  const pieces: number[] = [];
  let end = 0;
  for (const { address, length } of found) {
    if (address < end) continue; // a hard link, or blocks that files share
    pieces.push(address, length);
    end = address + length;
  }
  return Float64Array.from(pieces);
}
