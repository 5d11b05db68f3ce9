import { findProgram } from '../program';

/** An installed program that runs containers of the OCI runtime specification. */
export interface Runtime {
  path: string;
  /** Flags before every command. */
  flags: string[];
}

/** Of the error when there is none. */
export const runtimeHint = 'for run only: install runc or crun';

/**
 * runc goes first: crun refuses machines that have the first and the second version of cgroups. Without limits they do without cgroups where
 * those can't be written.
 */
const known = [
  { name: 'runc', unlimited: ['--rootless=true'], limited: ['--rootless=false'] },
  { name: 'crun', unlimited: ['--cgroup-manager=disabled'], limited: ['--cgroup-manager=cgroupfs'] },
];

/** The first that is installed; `limited`: for containers with limits. */
export async function findRuntime({ limited = false } = {}): Promise<Runtime | null> {
  for (const { name, ...flags } of known) {
    const path = await findProgram(name);
    if (path !== null) return { path, flags: limited ? flags.limited : flags.unlimited };
  }
  return null;
}
