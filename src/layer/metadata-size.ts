import { openErofs } from '../erofs/filesystem';
import type { ByteSource } from '../source/byte-source';

/** Entries that are looked at for one with data. */
const maxEntries = 4096;

/**
 * How many bytes at the beginning of an image are metadata, where metadata comes first and file data after it in the order of paths, as our
 * builder lays images out (docs/format/erofs.md): up to the data of the first file that has any. For other layouts it is a guess, and 0
 * when there is none. All of it where file data is on devices of their own. Errors as openErofs().
 */
export async function metadataSize(image: ByteSource): Promise<number> {
  const tree = await openErofs(image);
  if (tree.info.externalDevices > 0) return image.size;
  let entries = 0;
  for await (const { inode } of tree.walk()) {
    if (++entries > maxEntries) break;
    if (inode.type !== 'file' || inode.size < tree.info.blockSize) continue;
    for await (const extent of tree.extentsOf(inode)) return extent.address;
  }
  return 0;
}
