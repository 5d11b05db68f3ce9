import type { MountedLayer } from './layer-record';
import { mountsAt, readMounts } from './mountinfo';
import { MountState, type MountRecord, type StateOptions } from './state';
import { isOurs } from './unmount';

/** What is mounted. */
export interface MountResult {
  /** Absolute, without symbolic links. */
  target: string;
  /** The lowest first. */
  layers: MountedLayer[];
}

/** What is mounted by mountImage(), sorted by target; without layers where the record of it was lost. Changes nothing, and needs no root. */
export async function listMounts(options: StateOptions = {}): Promise<MountResult[]> {
  const state = await MountState.look(options.state);
  if (state === null) return [];
  const mounts = await readMounts();
  const listed: MountResult[] = [];
  for (const record of await state.mounts()) {
    const here = mountsAt(mounts, record.target);
    if (record.mounted && here.some((mount) => isOurs(state, record, mount, mounts)))
      listed.push(resultOf(record));
  }
  return listed;
}

/** What a record says to a user. */
export function resultOf({ target, kind, layers }: MountRecord): MountResult {
  if (kind === null) return { target, layers: [] };
  return { target, layers: layers.map(({ diffId, device, verity }) => ({ diffId, device, verity })) };
}
