import { statfs } from 'node:fs/promises';
import { mountFilesystem, ShortPaths, type NewMount } from './fs-context';
import { callFailure, errno, errnoOf } from './system-call';

/** statfs(2): a file system upon others has used up a level of those that may lie one upon the other. */
const overlayMagic = 0x794c7630;

/** Mounts an image, read-only, from a block device or (Linux 6.12) a file, with its external devices of the same kind. */
export async function mountErofs(source: string, devices: readonly string[], target: string): Promise<void> {
  await withImage(source, devices, (image) => {
    try {
      mountFilesystem(image, target);
    } catch (error) {
      throw callFailure(source, error, 'the kernel log may say more: dmesg');
    }
  });
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
  use: (image: NewMount) => T,
): Promise<T> {
  const paths = new ShortPaths();
  try {
    const parameters: [string, string?][] = [['source', await paths.shorten(source)], ['ro']];
    for (const device of devices) parameters.push(['device', await paths.shorten(device)]);
    return use({ type: 'erofs', parameters, readOnly: true });
  } finally {
    await paths.close();
  }
}
