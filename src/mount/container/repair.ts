import { ContainerFolder } from './folder';
import { deleteContainer } from './process';
import type { StateOptions } from '../state';
import { findRuntime } from './runtime';
import { MountState } from '../state';
import { requireRoot } from '../kernel/system-call';
import { unmountImage, type Unmounted } from '../unmount';

/** Undoes what killed runs left: the container, its image's mount, its folder. Containers of runs that live stay. MACHINE without root. */
export async function repairContainers(options: StateOptions = {}): Promise<Unmounted[]> {
  requireRoot('containers', 'repairing them');
  const state = await MountState.openExisting(options.state);
  if (state === null) return [];
  const runtime = await findRuntime();
  const repaired: Unmounted[] = [];
  for (const folder of await ContainerFolder.abandoned(state)) {
    if (runtime !== null) await deleteContainer(runtime, folder);
    repaired.push(await clearAway(folder, options));
  }
  return repaired;
}

/** Unmounts a container's image and removes its folder, even when the first fails. */
export async function clearAway(folder: ContainerFolder, { state }: StateOptions): Promise<Unmounted> {
  try {
    return await unmountImage(folder.rootfs, { state });
  } finally {
    await folder.remove();
  }
}
