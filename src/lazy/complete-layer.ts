import { randomBytes } from 'node:crypto';
import { constants, writeFile } from 'node:fs';
import { access, copyFile, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromSystemError } from '../errors';
import { checkSameDigest, formatDigest } from '../format/digest';
import { writeAtomically, syncFolder } from '../fs/atomic-file';
import { unfinishedPrefix } from '../fs/draft';
import { acquireLock } from '../fs/lock';
import { checkDataTree } from '../layer/data-tree';
import { materialisedTree } from '../layer/materialise';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { ChunkStore } from './chunk-store';
import type { LazyLayerRequest } from './messages';
import type { OpenedLayer } from './open-layer';
import { plainVerity, type PlainVerity } from './plain-verity';

/** What was found when a decoded layer was checked against a descriptor. */
export interface Vouched {
  /** The blob has a tree of which the descriptor says nothing. */
  unvouchedTree: boolean;
  /** Of a layer that dm-verity checks: what it needs to know. */
  verity?: PlainVerity | null | undefined;
}

/** What dm-verity needs to know of a layer with its tree, else null. */
export function verityOfLayer(
  { withTree }: Pick<LazyLayerRequest, 'withTree'>,
  { blob: { tree } }: Pick<OpenedLayer, 'blob'>,
): PlainVerity | null {
  return withTree && tree !== null ? plainVerity(materialisedTree(tree)) : null;
}

/** One check after the other: a layer that is complete is in no hurry. */
const threads = 1;

/**
 * Checks a layer of which all chunks are here as a whole: its DiffID, and the root digest of the blob's tree over its data. MISMATCH when it
 * is not what it should be, though each frame was. CANCELLED when the layer is closed meanwhile.
 */
export async function checkComplete(
  request: LazyLayerRequest,
  opened: Pick<OpenedLayer, 'blob' | 'store'>,
): Promise<void> {
  await opened.store.use((signal) => checkWhole(request, opened, signal));
}

async function checkWhole(
  { diffId }: LazyLayerRequest,
  { blob, store }: Pick<OpenedLayer, 'blob' | 'store'>,
  signal: AbortSignal,
): Promise<void> {
  const name = store.path;
  const source = new native.Source({ fd: store.fd, name, offset: 0, size: blob.section.uncompressedSize });
  try {
    const digest = await runNative({ signal }, (job) => native.hashSource(source, job), name);
    checkSameDigest(`layer ${diffId}: DiffID`, diffId, formatDigest('sha256', digest));
  } finally {
    source.close();
  }
  if (blob.tree?.vouched === true)
    await checkDataTree({ fd: store.fd, name }, blob.tree, { threads, signal });
}

/**
 * Makes a complete and checked layer one that eager mounts take: its file gets a second name among the decoded layers, and goes on being
 * served by its first. One that is there already stays. `verity`: what dm-verity needs, of a layer with its tree.
 */
export async function publishComplete(
  content: string,
  { key, vouchers = [] }: LazyLayerRequest,
  { blob, store }: Pick<OpenedLayer, 'blob' | 'store'>,
  verity: PlainVerity | null,
): Promise<void> {
  const folder = join(content, key);
  const lock = await acquireLock(`${folder}.lock`, { mode: 0o600 });
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (!(await isThere(join(folder, 'image')))) await store.use(() => share(store, folder));
    const vouched: Vouched = { unvouchedTree: blob.tree?.vouched === false, verity };
    for (const voucher of vouchers) await writeVouched(join(folder, `vouched-${voucher}.json`), vouched);
  } catch (error) {
    throw fromSystemError(folder, error);
  } finally {
    await lock.release();
  }
}

/** By its descriptor: the name may be another file's by now. */
async function share({ fd }: ChunkStore, folder: string): Promise<void> {
  const hidden = join(folder, `${unfinishedPrefix}${randomBytes(8).toString('hex')}`);
  try {
    if (!canLink(fd, hidden)) await copy(`/proc/self/fd/${fd}`, hidden);
    await rename(hidden, join(folder, 'image'));
    await syncFolder(folder);
  } finally {
    await rm(hidden, { force: true });
  }
}

function canLink(fd: number, path: string): boolean {
  try {
    native.sys.linkOpenFile(fd, path);
    return true;
  } catch {
    return false;
  }
}

/** Where the file system has no hard links; by reflink where it has those. */
async function copy(data: string, target: string): Promise<void> {
  await copyFile(data, target, constants.COPYFILE_FICLONE);
  const handle = await open(target, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeVouched(path: string, vouched: Vouched): Promise<void> {
  await writeAtomically(path, async ({ fd }) => promisify(writeFile)(fd, `${JSON.stringify(vouched)}\n`));
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
