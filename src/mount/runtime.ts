import { findProgram } from './program';

/** An installed program that runs containers of the OCI runtime specification. */
export interface Runtime {
  path: string;
  /** Flags before every command. By them it does without cgroups where those can't be written: nothing is limited. */
  flags: string[];
}

/** Of the error when there is none. */
export const runtimeHint = 'for run only: install runc or crun';

/** runc goes first: crun refuses machines that have the first and the second version of cgroups. */
const known = [
  { name: 'runc', flags: ['--rootless=true'] },
  { name: 'crun', flags: ['--cgroup-manager=disabled'] },
];

/** The first that is installed. */
export async function findRuntime(): Promise<Runtime | null> {
  for (const { name, flags } of known) {
    const path = await findProgram(name);
    if (path !== null) return { path, flags };
  }
  return null;
}
