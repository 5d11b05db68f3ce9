import { access, mkdir, readFile, rmdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, fromSystemError, type SeekableErofsError } from '../../errors';

/** What a container may use; of what is absent, all that the machine has. */
export interface ContainerLimits {
  /** Processes and threads at once. */
  pidsLimit?: number | undefined;
  /** Bytes of memory, what it writes into its tree included. */
  memory?: number | undefined;
}

/** `linux.resources` of the OCI runtime specification, and the control group that has it. */
export interface ContainerResources {
  cgroupsPath: string;
  resources: object;
}

const cgroups = '/sys/fs/cgroup';
/** statfs(2): all controllers in one tree. */
const cgroup2Magic = 0x63677270;
const hint = 'limits need cgroups that can be written to';
/** Less than this the kernel itself needs to start a process. */
const minMemory = 1 << 20;

/** Whether a run has limits that only cgroups can keep. */
export function hasLimits({ pidsLimit, memory }: ContainerLimits): boolean {
  return pidsLimit !== undefined || memory !== undefined;
}

/** USAGE for limits that make no sense. */
export function checkLimits({ pidsLimit, memory }: ContainerLimits): void {
  if (pidsLimit !== undefined && !(Number.isSafeInteger(pidsLimit) && pidsLimit >= 1))
    throw failure('USAGE', 'pids limit', `${pidsLimit} is no number of processes`, 'give 1 or more');
  if (memory !== undefined && !(Number.isSafeInteger(memory) && memory >= minMemory))
    throw failure('USAGE', 'memory limit', `${memory} bytes start no program`, 'give 1MiB or more');
}

/**
 * The limits of the container `id`, in a group of its own; null without limits.
 * @throws MACHINE where cgroups are not there, or can't be written
 */
export async function containerResources(
  id: string,
  limits: ContainerLimits,
): Promise<ContainerResources | null> {
  if (!hasLimits(limits)) return null;
  const { pidsLimit, memory } = limits;
  const isUnified = (await statfs(cgroups).catch(() => null))?.type === cgroup2Magic;
  const has = (controller: string, file: string): Promise<boolean> =>
    isUnified ? hasUnified(id, controller) : hasSeparate(id, controller, file);
  if (pidsLimit !== undefined && !(await has('pids', 'pids.max'))) throw lacks('pids');
  if (memory !== undefined && !(await has('memory', 'memory.limit_in_bytes'))) throw lacks('memory');
  // Without this, what does not fit goes to the machine's swap; some kernels don't count it.
  const countsSwap =
    memory !== undefined && (isUnified || (await has('memory', 'memory.memsw.limit_in_bytes')));
  return {
    cgroupsPath: `/${id}`,
    resources: {
      ...(pidsLimit !== undefined && { pids: { limit: pidsLimit } }),
      ...(memory !== undefined && { memory: { limit: memory, ...(countsSwap && { swap: memory }) } }),
    },
  };
}

/** Whether cgroup v2 has a controller, and lets us make a group. */
async function hasUnified(id: string, controller: string): Promise<boolean> {
  const controllers = await readFile(join(cgroups, 'cgroup.controllers'), 'utf8').catch(() => '');
  if (!controllers.trim().split(' ').includes(controller)) return false;
  return withGroup(join(cgroups, id), () => Promise.resolve(true));
}

/** Whether a controller of cgroup v1 lets us make a group, and that has `file`. */
async function hasSeparate(id: string, controller: string, file: string): Promise<boolean> {
  const root = join(cgroups, controller);
  if (!(await exists(join(root, 'tasks')))) return false;
  return withGroup(join(root, id), (group) => exists(join(group, file)));
}

async function withGroup(group: string, use: (group: string) => Promise<boolean>): Promise<boolean> {
  await mkdir(group).catch((error: unknown) => {
    throw failure('MACHINE', group, fromSystemError(group, error).why, hint);
  });
  try {
    return await use(group);
  } finally {
    await rmdir(group).catch(() => undefined);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function lacks(controller: string): SeekableErofsError {
  return failure('MACHINE', cgroups, `there is no cgroup controller "${controller}"`, hint);
}
