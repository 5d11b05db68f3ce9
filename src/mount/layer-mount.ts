import { mkdir } from 'node:fs/promises';
import { fromSystemError } from '../errors';
import { mountsAt, readMounts } from '../fs/mountinfo';
import { mountWith, type MountOptions } from './mount';
import { isAnswered } from './served-layer';
import { unmount } from './release';
import { MountState, resolveTarget } from './state';
import type { MountRecord } from './state-records';
import { isOurs, undoMount } from './unmount';

/** One layer of an image, mounted by itself. */
interface LayerMount {
  /** By which the state folder, and what is kept of layers, know it. */
  key: string;
}

/**
 * Has one layer of an image mounted at the folder `target`, which nobody else mounts at. Does nothing where it is, and can be read; else what an
 * earlier mount left there goes first. Errors as mountImage().
 */
export async function ensureLayerMount(
  image: string,
  layer: string,
  target: string,
  options: MountOptions,
): Promise<LayerMount> {
  await mkdir(target, { recursive: true, mode: 0o755 }).catch((error: unknown) => {
    throw fromSystemError(target, error);
  });
  const state = await MountState.open(options.state);
  const path = await resolveTarget(target);
  const known = await readable(state, path);
  if (known !== null) return { key: known };
  await clear(state, path);
  await mountWith(image, path, options, { onlyLayer: layer });
  const record = await state.readMount(path);
  return { key: mountedKey(record!) };
}

/** Undoes what ensureLayerMount() did, and lets go of the layer when it was the last to have it. */
export async function removeLayerMount(
  target: string,
  options: { state?: string | undefined },
): Promise<void> {
  const state = await MountState.openExisting(options.state);
  if (state !== null) await clear(state, await resolveTarget(target));
}

/** The key of the layer that is mounted at a target whole, and can be read; null when there is none. */
async function readable(state: MountState, target: string): Promise<string | null> {
  const record = await state.readMount(target);
  if (record?.mounted !== true || record.layers.length === 0) return null;
  const mounts = await readMounts();
  const [top] = mountsAt(mounts, target);
  if (top === undefined || !isOurs(state, record, top, mounts)) return null;
  const key = mountedKey(record);
  return (await isAnswered(state, key)) ? key : null;
}

/** Of the layer itself, not of a device that it needs. */
function mountedKey({ layers }: MountRecord): string {
  return layers.find(({ role }) => role !== 'device')!.key;
}

async function clear(state: MountState, target: string): Promise<void> {
  await state.lockedTarget(target, async () => {
    for (let left = mountsAt(await readMounts(), target).length; left > 0; left--) unmount(target);
    const record = await state.readMount(target);
    if (record !== null) await undoMount(state, record);
  });
}
