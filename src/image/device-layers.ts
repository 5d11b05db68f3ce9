import { readDeviceSlots } from '../erofs/block-space';
import { readSuperblock } from '../erofs/superblock';
import type { ByteSource } from '../source/byte-source';
import { brokenRule } from './composition';
import { humanCount } from '../quantity';

/**
 * Checks that an image has the device layers that its device table needs: as many, each as long as it says. An image with no device layer may
 * have all of its devices within itself. CORRUPT names the rule that is broken; errors of the superblock as readSuperblock().
 */
export async function checkDeviceLayers(
  image: ByteSource,
  devices: readonly Pick<ByteSource, 'size' | 'name'>[],
  signal?: AbortSignal,
): Promise<void> {
  const superblock = await readSuperblock(image, signal);
  const { extraDevices, blockSize } = superblock;
  if (extraDevices === 0 && devices.length === 0) return;
  const slots = await readDeviceSlots(image, superblock, signal);
  if (devices.length === 0 && areWithin(image, slots)) return;
  if (devices.length !== extraDevices) {
    const why = `its image has ${humanCount(extraDevices, 'external device')}, and ${humanCount(devices.length, 'device layer is', 'device layers are')} before it`;
    throw brokenRule(image.name, 'device-count', why);
  }
  for (const [i, { size, name }] of devices.entries()) {
    const { length } = slots[i]!;
    if (Math.ceil(size / blockSize) * blockSize >= length) continue;
    const why = `its device ${i + 1} has ${length} bytes, but ${name} decodes to ${size}`;
    throw brokenRule(image.name, 'device-size', why);
  }
}

/** Whether an image keeps data on devices that are not within itself. Errors as readSuperblock(). */
export async function needsDevices(image: ByteSource, signal?: AbortSignal): Promise<boolean> {
  const superblock = await readSuperblock(image, signal);
  return superblock.extraDevices > 0 && !areWithin(image, await readDeviceSlots(image, superblock, signal));
}

function areWithin({ size }: ByteSource, slots: readonly { flatAddress: number; length: number }[]): boolean {
  return slots.every(({ flatAddress, length }) => flatAddress > 0 && flatAddress + length <= size);
}
