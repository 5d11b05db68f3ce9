import { SeekableErofsError, failure } from '../errors';
import { markUsed } from '../lazy/cache-room';
import { native } from '../native/binding';
import { withDm, type DeviceMapper, type Removal } from './kernel/dm-control';
import { deviceNamesOf } from './kernel/dm-verity';
import { releaseLazyLayers, releaseWaiting } from './lazy-layers';
import { detachLoop } from './kernel/loop';
import { mountsAt, readMounts } from '../fs/mountinfo';
import type { MountState } from './state';
import { call, errno, errnoOf } from './kernel/system-call';

/** What umount undoes: the overlay of layers, mounts of EROFS, dm-verity devices, loop devices. */
export type UndoneKind = 'overlay' | 'erofs' | 'dm' | 'loop';

/** In the order in which they are undone. */
export const undoneKinds: readonly UndoneKind[] = ['overlay', 'erofs', 'dm', 'loop'];

const flag = { detach: 2, noFollow: 8 } as const;

/** Unmounts what is seen at `target`. When files of it are open, it goes from sight now, and for good when the last is closed. */
export function unmount(target: string): void {
  call(target, () => {
    try {
      native.sys.unmount(target, flag.noFollow);
    } catch (error) {
      if (errnoOf(error) !== errno.EBUSY) throw error;
      native.sys.unmount(target, flag.noFollow | flag.detach);
    }
  });
}

/** Undoes what was set up of a layer, all or a part, and leaves its content and its record. The state is locked. */
export async function undoLayer(state: MountState, key: string): Promise<UndoneKind[]> {
  const undone: UndoneKind[] = [];
  const place = state.mountPoint(key);
  const record = await state.readLayer(key);
  for (const { type } of mountsAt(await readMounts(), place)) {
    if (type !== 'erofs') throw failure('FAILED', place, `something else (${type}) is mounted there`);
    unmount(place);
    if (undone.length === 0) undone.push('erofs');
  }
  if (record === null) return undone;
  if (record === 'lost') {
    if (await removeLostDevices(state, key)) undone.push('dm', 'loop');
    return undone;
  }
  const { dm, loops, backing, files } = record;
  if (dm !== null && (await removeDevice(dm.uuid)) !== 'absent') undone.push('dm');
  // Its last user lets go of a loop device, and that was the mount or the table.
  let hadLoop = backing !== 'file' && undone.length > 0;
  for (const loop of loops) hadLoop = (await detachLoop(loop, files)) || hadLoop;
  if (hadLoop) undone.push('loop');
  return undone;
}

async function removeDevice(uuid: string): Promise<Removal> {
  return (await ifDeviceMapper((dm) => dm.remove(uuid))) ?? 'absent';
}

/** Removes the devices of a layer whose record was lost: their names are made of the layer's key. True when there were some. */
async function removeLostDevices(state: MountState, key: string): Promise<boolean> {
  const removals = await ifDeviceMapper((dm) =>
    deviceNamesOf(state.deviceId(key)).flatMap((name) => {
      const uuid = dm.uuidOf(name);
      return uuid?.endsWith(`-${name}`) === true ? dm.remove(uuid) : [];
    }),
  );
  return removals !== null && removals.length > 0;
}

/** Null on a kernel without device-mapper: the record may be of another boot. Then there is no device either. */
async function ifDeviceMapper<T>(use: (dm: DeviceMapper) => T): Promise<T | null> {
  return withDm((dm) => Promise.resolve(use(dm))).catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  });
}

/** Undoes all layers that no mount has; what was decoded for them stays. The state is locked. */
export async function releaseUnused(state: MountState, except?: string): Promise<UndoneKind[]> {
  const records = await state.mounts();
  const used = new Set(
    records.filter(({ target }) => target !== except).flatMap(({ layers }) => layers.map(({ key }) => key)),
  );
  // The end of a layer's mount waits for its reads, also for those whose reader was killed.
  await releaseWaiting(state, used).catch(() => undefined); // a server in trouble is told of below, when all is undone
  const undone: UndoneKind[] = [];
  for (const key of await state.layerKeys()) {
    if (used.has(key)) continue;
    await markUsed(state.cachePlaces, [key]);
    undone.push(...(await undoLayer(state, key)));
    await state.removeLayer(key);
  }
  await releaseLazyLayers(state, used);
  return undone;
}
