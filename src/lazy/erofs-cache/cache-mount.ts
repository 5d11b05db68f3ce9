import { mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, fromSystemError } from '../../errors';
import { lazyMountType, mountsAt, readMounts } from '../../fs/mountinfo';
import { native } from '../../native/binding';
import { fromNativeError } from '../../native/native-error';
import { cacheFolderIn } from './cache-tree';

const detach = 2; // MNT_DETACH
const bind = 4096; // MS_BIND
/** A server that is being replaced answers late; in milliseconds. */
const answerTime = 3000;

/** The real path of a folder that may not be there, or be what a dead server shows. */
async function realFolder(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

/** Of a folder that a dead server shows, or one that dies just now: it is there, and can't be looked at. */
const saysThere = ['EEXIST', 'ENOTCONN', 'ECONNABORTED'];

/**
 * Makes sure that the folder `path` can show a cache: makes it if need be, and takes away what a server left there that was killed.
 * @param mountPoint of the FUSE mount of the state folder, as the last server left it
 * @returns its real path
 * @throws USAGE when something is in it, FAILED when another server shows its layers there
 */
export async function prepareCacheMount(path: string, mountPoint: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    if (!saysThere.includes((error as NodeJS.ErrnoException).code ?? '')) throw fromSystemError(path, error);
  }
  const target = await realFolder(path);
  const mounts = await readMounts();
  const [own] = mountsAt(mounts, mountPoint);
  for (const { type, device } of mountsAt(mounts, target)) {
    if (type !== lazyMountType) break;
    if (await isAlive(target)) {
      if (device === own?.device) return target; // of a server without a keeper: it is taken over
      throw failure('FAILED', target, 'another lazy server shows its layers there', 'use another folder');
    }
    unmountCache(target);
  }
  const names = await readdir(target).catch((error: unknown) => {
    throw fromSystemError(target, error);
  });
  if (names.length === 0) return target;
  const hint = 'use an empty folder; containerd takes a list of them in layer_content_caches';
  throw failure('USAGE', target, 'there is something in it', hint);
}

/** Shows the FUSE mount's cache folder at `target`, unless it is there. Its lookups are answered by the FUSE server's own threads. */
export async function showCacheAt(target: string, mountPoint: string): Promise<void> {
  const mounts = await readMounts();
  const [own] = mountsAt(mounts, mountPoint);
  for (const there of mountsAt(mounts, target)) {
    if (there.device === own?.device) return;
    if (there.type === lazyMountType) unmountCache(target);
  }
  try {
    native.sys.mount({ source: cacheFolderIn(mountPoint), target, type: 'none', flags: bind, data: '' });
  } catch (error) {
    throw fromNativeError(error);
  }
}

/** Takes the folder away; who has files in it open goes on. */
export function unmountCache(target: string): void {
  try {
    native.sys.unmount(target, detach);
  } catch {
    // Nothing is mounted there.
  }
}

async function isAlive(target: string): Promise<boolean> {
  const answer = stat(target).then(
    () => true,
    () => false,
  );
  return Promise.race([answer, sleep(answerTime, true, { ref: false })]);
}
