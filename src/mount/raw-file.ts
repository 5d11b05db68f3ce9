import { readFile, realpath, stat } from 'node:fs/promises';
import { failure, fromSystemError } from '../errors';
import { checkSameDigest } from '../format/digest';
import { maxSidecarSize, parseDmveritySidecar, type DmveritySidecar } from '../format/dmverity-sidecar';
import {
  checkSuperblockFits,
  parseVeritySuperblock,
  veritySuperblockSize,
} from '../format/verity-superblock';
import { verityTreeOffset, verityTreeSize } from '../format/verity-tree-size';
import { checkBlobDigest, digestOfFile } from '../layer/content-digest';
import type { BlobFile } from '../oci/store';
import type { VerityDevice } from './kernel/dm-verity';
import type { MountSourceOptions, SourceLayer } from './source-layer';
import { checkTop, checkWholeTree } from './verity-check';

/** A raw image that is mounted where it lies, with the tree behind it when a file `PATH.dmverity` says so. */
export async function openRawFile(
  file: BlobFile,
  path: string,
  options: MountSourceOptions,
): Promise<SourceLayer> {
  const { descriptor } = options;
  if (descriptor !== undefined) await checkDescriptor(file, options);
  const image = await realpath(path);
  const devices = await realPaths(options.devices);
  const sidecar = await readSidecar(`${path}.dmverity`);
  const verity = sidecar && (await readTree(file, sidecar));
  // The image ends where the superblock begins; a device of dm-verity has no other mark of its end.
  const size = sidecar?.hashOffset ?? file.size;
  const diffId = await digestOfFile({ ...file, size }, options);
  if (descriptor?.diffId !== undefined) checkSameDigest(`${file.name}: DiffID`, descriptor.diffId, diffId);
  return {
    name: file.name,
    role: 'lower',
    devices: [],
    diffId,
    tree: verity === null ? 'absent' : 'vouched',
    rootDigest: verity?.rootDigest ?? null,
    files: await fileIdentities([image, ...devices]),
    lazy: null,
    cached: () => Promise.resolve(null),
    prepare: async (_state, _key, mode) => {
      if (verity !== null) await checkTop(image, verity);
      if (verity !== null && mode === 'userspace') await checkWholeTree(image, verity, options);
      if (mode === 'kernel') checkRoom(file, verity!);
      return { files: [image, ...devices], verity: mode === 'kernel' ? verity : null };
    },
  };
}

async function checkDescriptor(file: BlobFile, options: MountSourceOptions): Promise<void> {
  const { size } = options.descriptor!;
  if (size !== file.size)
    throw failure('MISMATCH', file.name, `${file.size} bytes, but its descriptor says ${size}`);
  await checkBlobDigest(file, options.descriptor!, options);
}

async function readSidecar(path: string): Promise<DmveritySidecar | null> {
  try {
    if ((await stat(path)).size > maxSidecarSize) throw failure('CORRUPT', path, 'too large for a sidecar');
    return parseDmveritySidecar(await readFile(path, 'utf8'), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  }
}

/** The superblock that a sidecar points to, checked against what the sidecar promises and the file has. */
async function readTree(file: BlobFile, { rootDigest, hashOffset }: DmveritySidecar): Promise<VerityDevice> {
  const what = `${file.name}: dm-verity superblock`;
  if (hashOffset + veritySuperblockSize > file.size) {
    throw failure('CORRUPT', what, `it is said to be at byte ${hashOffset} of ${file.size}`);
  }
  const superblock = parseVeritySuperblock(await file.read(hashOffset, veritySuperblockSize), what);
  checkSuperblockFits(superblock, { dataSize: hashOffset, rootDigest }, what);
  const treeOffset = hashOffset + verityTreeOffset(superblock.hashBlockSize);
  const treeSize = verityTreeSize(superblock);
  const end = treeSize === 0 ? hashOffset + veritySuperblockSize : treeOffset + treeSize;
  if (end > file.size || hashOffset % superblock.hashBlockSize !== 0) {
    throw failure('CORRUPT', what, `data and tree would end at byte ${end} of ${file.size}`);
  }
  return { superblock, rootDigest, treeOffset };
}

/** Of an image of one block, some programs write a superblock that is shorter than a block. */
function checkRoom(file: BlobFile, { treeOffset }: VerityDevice): void {
  if (treeOffset <= file.size) return;
  const why = `it ends at byte ${file.size}, and the kernel wants its dm-verity superblock to be a whole block`;
  throw failure('UNSUPPORTED', file.name, why, 'make it anew: see decode --dm-verity');
}

/** Absolute, for a journal that outlives this process's working folder. */
export async function realPaths(paths: readonly string[] = []): Promise<string[]> {
  const real = (path: string) =>
    realpath(path).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
  return Promise.all(paths.map(real));
}

/** Which files these are, and that they were not written to since. */
export async function fileIdentities(paths: readonly string[]): Promise<string[]> {
  return Promise.all(
    paths.map(async (path) => {
      const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true }).catch((error: unknown) => {
        throw fromSystemError(path, error);
      });
      return [dev, ino, size, mtimeNs].join(':');
    }),
  );
}
