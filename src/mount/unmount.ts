import { join } from 'node:path';
import { failure } from '../errors';
import { connectToServer } from '../lazy/client';
import { clearDeadServer } from '../lazy/keeper';
import { checkOptions } from '../options';
import { mountsAt, readMounts, type MountEntry } from '../fs/mountinfo';
import { releaseUnused, undoneKinds, unmount, type UndoneKind } from './release';
import { MountState, removeFolder, resolveTarget, type StateOptions } from './state';
import type { MountRecord } from './state-records';
import { requireRoot } from './kernel/system-call';

/** What was undone of a mount. */
export interface Unmounted {
  target: string;
  /** In the order in which it was undone; layers that other mounts use stay. Empty when nothing of ours was there. */
  undone: UndoneKind[];
}

/**
 * Undoes what mountImage() did at `target`, and nothing else, also when a crash left it half done. A second call does nothing. While files
 * are open, the mount is only detached; its devices go when the last file is closed. MACHINE without root, FAILED when something else is
 * mounted over it.
 */
export async function unmountImage(target: string, options: StateOptions = {}): Promise<Unmounted> {
  checkOptions('unmountImage', options);
  requireRoot(target, 'unmounting');
  const path = await resolveTarget(target);
  const state = await MountState.openExisting(options.state);
  if (state === null) return { target: path, undone: [] };
  const undone = await state.lockedTarget(path, async () => {
    const record = await state.readMount(path);
    return record === null ? [] : undoMount(state, record);
  });
  return { target: path, undone: undone! };
}

/**
 * Undoes what crashes left: mounts that were not finished, layers that no mount has. Mounts that are whole, or are being made, stay.
 * What was undone, by target.
 */
export async function repairMounts(options: StateOptions = {}): Promise<Unmounted[]> {
  checkOptions('repairMounts', options);
  requireRoot('mounts', 'repairing them');
  const state = await MountState.openExisting(options.state);
  if (state === null) return [];
  const repaired: Unmounted[] = [];
  await state.removeLostRecords();
  const isServerDead = await hasDeadServer(state);
  for (const { target } of await state.mounts()) {
    const repair = () => repairMount(state, target, isServerDead);
    const undone = await state.lockedTarget(target, repair, { wait: false });
    if (undone !== null) repaired.push({ target, undone });
  }
  const undone = await state.locked(async () => {
    await state.removeUnfinished();
    return releaseUnused(state);
  });
  if (isServerDead) await clearDeadServer(state.option);
  if (undone.length > 0) repaired.push({ target: state.folder, undone: inOrder(undone) });
  return repaired;
}

/** Whether the lazy server's FUSE mount is there, and neither server nor keeper: both were killed. Its files can't be read any more. */
async function hasDeadServer(state: MountState): Promise<boolean> {
  const place = join(state.folder, 'lazy', 'layers');
  if (mountsAt(await readMounts(), place).length === 0) return false;
  const server = await connectToServer(state.option);
  server?.close();
  return server === null;
}

/** Null when the mount is whole. */
async function repairMount(
  state: MountState,
  target: string,
  isServerDead: boolean,
): Promise<UndoneKind[] | null> {
  const record = await state.readMount(target);
  if (record === null) return null;
  const mounts = await readMounts();
  const isWhole =
    record.kind !== null &&
    record.mounted &&
    mountsAt(mounts, target).some((mount) => isOurs(state, record, mount, mounts));
  if (isWhole && !(isServerDead && (await isServed(state, record)))) return null;
  return undoMount(state, record);
}

/** Whether a layer of it is a file of the lazy server. */
async function isServed(state: MountState, { layers }: MountRecord): Promise<boolean> {
  for (const { key } of layers) {
    const layer = await state.readLayer(key);
    if (layer !== null && layer !== 'lost' && layer.files[0]?.endsWith(`/lazy/layers/${key}`)) return true;
  }
  return false;
}

/** Undoes a mount, as far as it came: what is seen, then layers that no other mount has, the folder, the record. Its target is locked. */
export async function undoMount(state: MountState, record: MountRecord): Promise<UndoneKind[]> {
  const { target, madeTarget } = record;
  return state.locked(async () => {
    const undone: UndoneKind[] = [];
    const mounts = await readMounts();
    const [top, ...below] = mountsAt(mounts, target);
    if (top !== undefined && isOurs(state, record, top, mounts)) {
      unmount(target);
      undone.push(top.type === 'overlay' ? 'overlay' : 'erofs');
    } else if (below.some((mount) => isOurs(state, record, mount, mounts))) {
      throw failure(
        'FAILED',
        target,
        `something else (${top!.type}) is mounted over it`,
        'umount that first',
      );
    }
    undone.push(...(await releaseUnused(state, target)));
    if (madeTarget) await removeFolder(target);
    await state.removeMount(target);
    return inOrder(undone);
  });
}

/** Whether this is the mount that a record tells of: others may have come to its place. */
export function isOurs(
  state: MountState,
  { kind, source, layers }: MountRecord,
  mount: MountEntry,
  mounts: readonly MountEntry[],
): boolean {
  if (mount.type === 'overlay') return kind !== 'erofs' && mount.source === source;
  const mounted = layers.find(({ role }) => role === undefined);
  if (mount.type !== 'erofs' || kind === 'overlay' || mounted === undefined) return false;
  const [layer] = mountsAt(mounts, state.mountPoint(mounted.key));
  return mount.device === layer?.device;
}

function inOrder(undone: readonly UndoneKind[]): UndoneKind[] {
  return undoneKinds.filter((kind) => undone.includes(kind));
}
