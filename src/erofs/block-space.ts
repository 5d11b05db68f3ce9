import { failure } from '../errors';
import type { ByteSource } from '../source/byte-source';
import { checkRange } from '../source/range';
import type { Superblock } from './superblock';

const slotSize = 128;

/** A device that an image keeps data on, beside itself. */
interface DeviceSlot {
  /** Length, and where it appears in the flat address space (0: nowhere), in bytes. */
  length: number;
  flatAddress: number;
}

/** The device table of an image. CORRUPT when it lies outside of that. */
export async function readDeviceSlots(
  image: ByteSource,
  { extraDevices, deviceTable, blockSize, has48Bit }: Superblock,
  signal?: AbortSignal,
): Promise<DeviceSlot[]> {
  checkRange(image, deviceTable, extraDevices * slotSize);
  const table = await image.read(deviceTable, extraDevices * slotSize, signal);
  const address = (low: number, high: number): number =>
    blockSize * (table.readUInt32LE(low) + (has48Bit ? table.readUInt16LE(high) * 2 ** 32 : 0));
  return Array.from({ length: extraDevices }, (_, index) => {
    const at = index * slotSize;
    return { length: address(at + 64, at + 72), flatAddress: address(at + 68, at + 74) };
  });
}

/** The bytes that block addresses point into: the image, then its external devices. */
export class BlockSpace {
  private constructor(
    readonly image: ByteSource,
    private readonly slots: readonly DeviceSlot[],
    /** In the order of the slots; undefined: all of them are inside of the image, at their flat addresses. */
    private readonly devices: readonly ByteSource[] | undefined,
  ) {}

  /**
   * Reads the device table. `devices` are the image's external devices in its order; USAGE when their number is another. Without them
   * they must be part of the image (a tar appended to its index, say).
   */
  static async open(
    image: ByteSource,
    superblock: Superblock,
    devices: readonly ByteSource[],
    signal?: AbortSignal,
  ): Promise<BlockSpace> {
    const { extraDevices } = superblock;
    if (devices.length !== 0 && devices.length !== extraDevices) {
      const why = `it has ${extraDevices} external devices, but ${devices.length} were given`;
      throw failure('USAGE', image.name, why);
    }
    if (extraDevices === 0) return new BlockSpace(image, [], undefined);
    const slots = await readDeviceSlots(image, superblock, signal);
    return new BlockSpace(image, slots, devices.length === 0 ? undefined : devices);
  }

  /**
   * Where `length` bytes from `address` of a device lie; device 0 is the flat address space. CORRUPT when they lie outside of what
   * there is, NOT_FOUND when they are on a device that was not given.
   */
  locate(device: number, address: number, length: number): { source: ByteSource; offset: number } {
    const place = device === 0 ? this.locateFlat(address) : this.locateOn(device, address);
    if (this.slots.length > 0 && this.devices === undefined && place.offset + length > place.source.size) {
      throw this.missingDevice(`bytes at ${place.offset}`);
    }
    checkRange(place.source, place.offset, length);
    return place;
  }

  private locateFlat(address: number): { source: ByteSource; offset: number } {
    for (const [index, source] of (this.devices ?? []).entries()) {
      const { flatAddress, length } = this.slots[index]!;
      if (flatAddress !== 0 && address >= flatAddress && address < flatAddress + length) {
        return { source, offset: address - flatAddress };
      }
    }
    return { source: this.image, offset: address };
  }

  private locateOn(device: number, address: number): { source: ByteSource; offset: number } {
    const slot = this.slots[device - 1];
    if (slot === undefined) {
      throw failure('CORRUPT', this.image.name, `data is on device ${device} of ${this.slots.length}`);
    }
    if (this.devices !== undefined) return { source: this.devices[device - 1]!, offset: address };
    if (slot.flatAddress === 0) throw this.missingDevice(`data of device ${device}`);
    return { source: this.image, offset: slot.flatAddress + address };
  }

  private missingDevice(subject: string): Error {
    const why = `${subject} are not inside of the image: it has ${this.slots.length} external devices`;
    return failure('NOT_FOUND', this.image.name, why, 'give them, in their order (--device)');
  }
}
