import { readdirSync } from 'node:fs';
import { statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mountFilesystem, ShortPaths, type NewMount } from './fs-context';
import { callFailure, errno, errnoOf } from './system-call';

/** statfs(2): a file system upon others has used up a level of those that may lie one upon the other. */
const overlayMagic = 0x794c7630;
const fuseMagic = 0x65735546;
/** What the kernel lets be set of each file system's reading ahead. */
const readAheadFolder = '/sys/class/bdi';
const readAheadKiB = '512';

/**
 * Mounts an image, read-only, from a block device or (Linux 6.12) a file, with its external devices of the same kind. A file of the lazy
 * server is read past the page cache of its own, where the kernel can: docs/adr/0014-lazy-layers-are-read-directly.md.
 */
export async function mountErofs(source: string, devices: readonly string[], target: string): Promise<void> {
  const isLazy = (await statfs(source)).type === fuseMagic;
  await withImage(source, devices, async (image) => {
    try {
      if (isLazy) await mountLazily(image, target);
      else mountFilesystem(image, target);
    } catch (error) {
      throw callFailure(source, error, 'the kernel log may say more: dmesg');
    }
  });
}

/**
 * Has more read at once ahead of readers: each read of a lazy layer is a request to its server. The kernel names its entries for file
 * systems in files by a count of its own, which it tells nowhere else (st_dev of the FUSE mount names the entry of that, which direct I/O
 * passes by). So ours is the one that is new. Nothing else of this process runs in between, and where another process mounted just then,
 * so that two are new, both stay as they are.
 */
async function mountLazily(image: NewMount, target: string): Promise<void> {
  const before = new Set(readAheadEntries());
  if (!mountDirectly(image, target)) mountFilesystem(image, target);
  const [entry, ...others] = readAheadEntries().filter((name) => !before.has(name));
  if (entry === undefined || others.length > 0) return;
  const path = join(readAheadFolder, entry, 'read_ahead_kb');
  await writeFile(path, readAheadKiB).catch(() => undefined); // it is slower then, that is all
}

function readAheadEntries(): string[] {
  try {
    return readdirSync(readAheadFolder).filter((name) => name.startsWith('erofs-'));
  } catch {
    return []; // without sysfs
  }
}

/** False when the kernel does not know how (before Linux 6.15). */
function mountDirectly(image: NewMount, target: string): boolean {
  try {
    mountFilesystem({ ...image, parameters: [...image.parameters, ['directio']] }, target);
    return true;
  } catch (error) {
    if (errnoOf(error) === errno.EINVAL) return false;
    throw error;
  }
}

/** Whether the kernel mounts this image without a loop device. */
export async function canMountFile(file: string): Promise<boolean> {
  if ((await statfs(file)).type === overlayMagic) return false;
  return withImage(file, [], (image) => {
    try {
      mountFilesystem(image, null);
    } catch (error) {
      // Of anything else the real mount will tell.
      return errnoOf(error) !== errno.ENOTBLK;
    }
    return true;
  });
}

async function withImage<T>(
  source: string,
  devices: readonly string[],
  use: (image: NewMount) => T | Promise<T>,
): Promise<T> {
  const paths = new ShortPaths();
  try {
    const parameters: [string, string?][] = [['source', await paths.shorten(source)], ['ro']];
    for (const device of devices) parameters.push(['device', await paths.shorten(device)]);
    return await use({ type: 'erofs', parameters, readOnly: true });
  } finally {
    await paths.close();
  }
}
