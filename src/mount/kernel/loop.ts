import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { failure, fromSystemError } from '../../errors';
import { native } from '../../native/binding';
import { call, callFailure, errno, errnoOf } from './system-call';

/*
 * Loop devices (linux/loop.h). struct loop_info64, 232 bytes:
 *   0 device u64   8 inode u64   16 rdevice u64   24 offset u64   32 size limit u64   40 number u32   52 flags u32   56 file name, 64 bytes
 * struct loop_config, 304 bytes: 0 descriptor u32   4 block size u32   8 loop_info64   240 reserved
 */
const request = {
  setFd: 0x4c00,
  clearFd: 0x4c01,
  setStatus: 0x4c04,
  getStatus: 0x4c05,
  setDirectIo: 0x4c08,
  configure: 0x4c0a,
  getFree: 0x4c82,
} as const;
const flag = { readOnly: 1, autoclear: 4, directIo: 16 } as const;
const infoSize = 232;
const configSize = 304;
const infoStart = 8;
const flagsAt = 52;
const nameAt = 56;
const nameSize = 64;

/** Another process may take the device that was free just now, again and again. */
const maxAttempts = 256;
const control = '/dev/loop-control';

/** A loop device that this process holds open: it lets go of its file when its last user does. */
export interface LoopDevice {
  path: string;
  /** Call it when the kernel holds the device otherwise: mounted, or in a table. */
  close(): Promise<void>;
}

/** The bytes of a loop_info64: read-only, detached at last close, past the page cache of its own where the file system can. Exported for its test. */
export function loopInfo(name: string): Buffer {
  const info = Buffer.alloc(infoSize);
  info.writeUInt32LE(flag.readOnly | flag.autoclear | flag.directIo, flagsAt);
  info.set(Buffer.from(name).subarray(0, nameSize - 1), nameAt); // for `losetup`; the kernel cuts it too
  return info;
}

/** The bytes of a loop_config. Exported for its test. */
export function loopConfig(fd: number, name: string): Buffer {
  const config = Buffer.alloc(configSize);
  config.writeUInt32LE(fd, 0);
  config.set(loopInfo(name), infoStart);
  return config;
}

/**
 * Makes a file a block device. `beforeUnsafe` is called with the device's path where the kernel (before 5.8) attaches in two steps: a crash
 * between them leaves a device that does not detach itself.
 */
export async function attachLoop(
  file: string,
  beforeUnsafe: (device: string) => Promise<void>,
): Promise<LoopDevice> {
  const backing = await openFor(file, constants.O_RDONLY);
  try {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const path = await freeDevice();
      const device = await tryAttach(path, backing, file, beforeUnsafe);
      if (device !== null) return { path, close: () => device.close() };
    }
  } finally {
    await backing.close();
  }
  throw failure('FAILED', file, `no loop device was left to it in ${maxAttempts} attempts`);
}

/** The path of a loop device that nobody has, yet. */
async function freeDevice(): Promise<string> {
  const open = await openFor(control, constants.O_RDWR, 'modprobe loop, as root');
  try {
    return `/dev/loop${call(control, () => native.sys.ioctl(open.fd, request.getFree, 0))}`;
  } finally {
    await open.close();
  }
}

/** Null when another process took the device. */
async function tryAttach(
  path: string,
  backing: FileHandle,
  file: string,
  beforeUnsafe: (device: string) => Promise<void>,
): Promise<FileHandle | null> {
  const device = await openFor(path, constants.O_RDONLY, 'is /dev a devtmpfs?');
  try {
    if (!configure(device.fd, backing.fd, file)) {
      await beforeUnsafe(path);
      attachInTwoSteps(device.fd, backing.fd, file);
    }
    await checkDirectIo(device);
    return device;
  } catch (error) {
    await device.close();
    if (errnoOf(error) === errno.EBUSY) return null;
    throw callFailure(path, error);
  }
}

/** False when the kernel has no LOOP_CONFIGURE. */
function configure(device: number, backing: number, file: string): boolean {
  try {
    native.sys.ioctl(device, request.configure, loopConfig(backing, file));
    return true;
  } catch (error) {
    if (errnoOf(error) === errno.EINVAL || errnoOf(error) === errno.ENOTTY) return false;
    throw error;
  }
}

function attachInTwoSteps(device: number, backing: number, file: string): void {
  native.sys.ioctl(device, request.setFd, backing);
  try {
    native.sys.ioctl(device, request.setStatus, loopInfo(file));
  } catch (error) {
    native.sys.ioctl(device, request.clearFd, 0);
    throw error;
  }
}

/** Some file systems (overlayfs upon tmpfs) take direct I/O and then fail each read. */
async function checkDirectIo(device: FileHandle): Promise<void> {
  const sector = Buffer.alloc(512);
  try {
    await device.read(sector, 0, sector.length, 0);
  } catch {
    native.sys.ioctl(device.fd, request.setDirectIo, 0);
  }
}

/**
 * Detaches a device that a crash between our two steps left: it holds one of `files`, has no name of it, and would not detach by itself. True
 * when it did; others may have taken the device since.
 */
export async function detachLoop(path: string, files: readonly string[]): Promise<boolean> {
  const device = await open(path, constants.O_RDONLY).catch(() => null);
  if (device === null) return false;
  try {
    const info = Buffer.alloc(infoSize);
    native.sys.ioctl(device.fd, request.getStatus, info);
    const held = { dev: info.readBigUInt64LE(0), ino: info.readBigUInt64LE(8) };
    const ours = await Promise.all(files.map((file) => stat(file, { bigint: true })));
    const isOurFile = ours.some(({ dev, ino }) => dev === held.dev && ino === held.ino);
    const isUnfinished = info[nameAt] === 0 && (info.readUInt32LE(flagsAt) & flag.autoclear) === 0;
    if (!isOurFile || !isUnfinished) return false;
    native.sys.ioctl(device.fd, request.clearFd, 0);
    return true;
  } catch {
    return false; // detached, or without its file: then it is none that we know
  } finally {
    await device.close();
  }
}

async function openFor(path: string, flags: number, hint?: string): Promise<FileHandle> {
  return open(path, flags).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (hint === undefined || code === 'EMFILE') throw fromSystemError(path, error);
    throw failure(
      'MACHINE',
      path,
      code === 'ENOENT' ? 'there is none' : fromSystemError(path, error).why,
      hint,
    );
  });
}
