import { statfs } from 'node:fs/promises';
import { failure } from '../errors';

/** Between two checks of a file that grows, so many bytes may be written. */
const checkInterval = 1 << 20;
const maxReserved = 1 << 30;

/**
 * NO_SPACE, about `what`, when less than 5 % of the file system that the open file is in, or less than 1 GiB where that is less, is left. What
 * is unpacked may be a bomb, and others need the disk as well. The same as native/base/disk_space.cc.
 */
async function checkSpaceLeft(fd: number, what: string): Promise<void> {
  const { bsize, blocks, bavail } = await statfs(`/proc/self/fd/${fd}`);
  const minFree = Math.min((blocks * bsize) / 20, maxReserved);
  const left = bavail * bsize;
  if (left >= minFree) return;
  const why = `${left} bytes of the disk are left for temporary files, and ${Math.ceil(minFree)} must stay free`;
  throw failure('NO_SPACE', what, why, 'free some space, or name another folder with --tmp-dir');
}

/** A check to call before so many bytes more are written to the open file: what is left is looked at once in a megabyte. */
export function spaceGuard(fd: number, what: string): (bytes: number) => Promise<void> {
  let unchecked = checkInterval;
  return async (bytes) => {
    if (unchecked >= checkInterval) {
      unchecked = 0;
      await checkSpaceLeft(fd, what);
    }
    unchecked += bytes;
  };
}
