import { link, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { failure, fromSystemError, SeekableErofsError } from '../../errors';
import { isContainerdTree, maxSidecarSize, parseDmveritySidecar } from '../../format/dmverity-sidecar';
import { parseVeritySuperblock, veritySuperblockSize } from '../../format/verity-superblock';
import { verityPayloadSize } from '../../format/verity-tree-size';
import { syncFolder } from '../../fs/atomic-file';
import { openFileSource } from '../../source/file';

/** An entry of the cache: an image, and with dm-verity a `.dmverity` file beside it. The two are one thing. */
export interface CacheEntry {
  /** Bytes of the file. */
  size: number;
  /** Of the EROFS image in it; with dm-verity padded to a block. */
  imageSize: number;
}

/** Files that are complete, and wait for their names. */
interface EntryFiles {
  image: string;
  /** Null without dm-verity. */
  sidecar: string | null;
}

/** Where the `.dmverity` file of the image at `path` is. */
const sidecarOf = (path: string): string => `${path}.dmverity`;

/** The entry at `path`; null when there is none, or when `withTree` asks for a sidecar and it has none that fits. */
export async function findEntry(path: string, withTree: boolean): Promise<CacheEntry | null> {
  const size = await imageFileSize(path);
  if (size === null) return null;
  const hashOffset = await readHashOffset(path).catch(() => null);
  if (withTree && hashOffset === null) return null;
  return { size, imageSize: hashOffset ?? size };
}

/** Removes the sidecar at `path` that is none of the image there: what was killed between the two renames leaves one. */
export async function removeMisfit(path: string): Promise<void> {
  const isMisfit = await readHashOffset(path).then(
    () => false,
    (error: unknown) => error instanceof SeekableErofsError && error.code === 'CORRUPT',
  );
  if (isMisfit) await removeIfThere(sidecarOf(path));
}

/**
 * Gives an entry that is not there, or lacks its tree, its names: containerd takes an image when it is there, so the sidecar comes first.
 * When that fails the old entry is as it was. `backup` is another name of the old image, null where it has none.
 * @returns how to undo it; an old image without another name stays replaced, by one that serves as well.
 */
export async function placeEntry(
  path: string,
  { image, sidecar }: EntryFiles,
  backup: string | null,
): Promise<() => Promise<void>> {
  const isReplaced = (await imageFileSize(path)) !== null;
  if (sidecar !== null) await rename(sidecar, sidecarOf(path));
  else await removeMisfit(path);
  try {
    await rename(image, path);
  } catch (error) {
    if (sidecar !== null) await removeIfThere(sidecarOf(path));
    throw error;
  }
  return async () => {
    if (isReplaced && backup === null) return;
    // The new image gets its draft's name again: another conversion of the run may want it.
    if (backup === null) await rename(path, image);
    else {
      await link(path, image);
      await rename(backup, path);
    }
    if (sidecar !== null) await removeIfThere(sidecarOf(path));
    await syncFolder(dirname(path));
  };
}

/** Bytes of the image at `path`; null when there is none. */
async function imageFileSize(path: string): Promise<number | null> {
  try {
    const status = await stat(path);
    return status.isFile() ? status.size : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  }
}

/**
 * Where the tree begins in the image at `path`, by its sidecar.
 * @throws CORRUPT when the two don't fit, or the image is missing; NOT_FOUND without a sidecar
 */
async function readHashOffset(path: string): Promise<number> {
  const what = sidecarOf(path);
  const { hashOffset } = parseDmveritySidecar(await readSidecar(what), what);
  const image = await openFileSource(path).catch((error: unknown) => {
    if (!(error instanceof SeekableErofsError) || error.code !== 'NOT_FOUND') throw error;
    throw misfit(what);
  });
  try {
    const superblock = parseVeritySuperblock(await image.read(hashOffset, veritySuperblockSize), what);
    const { dataBlocks, dataBlockSize } = superblock;
    const end = hashOffset + verityPayloadSize(superblock);
    if (dataBlocks * dataBlockSize !== hashOffset || end > image.size) throw misfit(what);
    if (!isContainerdTree(superblock)) throw misfit(what, 'it leads to a tree that containerd does not open');
    return hashOffset;
  } finally {
    await image.close();
  }
}

function misfit(what: string, why = 'it does not fit the image beside it'): SeekableErofsError {
  return failure('CORRUPT', what, why);
}

async function readSidecar(path: string): Promise<string> {
  const file = await openFileSource(path);
  try {
    return (await file.read(0, Math.min(file.size, maxSidecarSize))).toString();
  } finally {
    await file.close();
  }
}

async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}
