import { failure } from '../../errors';
import { checkOptions } from '../../options';
import { repairContainers } from '../container/repair';
import type { DoctorCheck } from './check';
import { addonCheck, kernelChecks, programChecks } from './checks';
import { containerdChecks } from './containerd';
import { Machine } from './machine';
import type { StateOptions } from '../state';
import { repairMounts, type Unmounted } from '../unmount';

/** What doctor() takes. */
export interface DoctorOptions extends StateOptions {
  /** Undo what crashes left of containers and mounts, too. */
  repair?: boolean | undefined;
}

/** What a machine can do. */
export interface DoctorReport {
  /** False when something is missing that conversion needs; mounting needs more, and says so in its checks. */
  ok: boolean;
  checks: DoctorCheck[];
  /** With `repair`: what was undone, and where. */
  repaired?: Unmounted[];
}

/**
 * Looks at the machine: the addon and its instruction sets, what the kernel offers for mounting, the programs that some
 * commands run, containerd's configuration where there is one. Changes nothing unless `repair`. MACHINE for `repair` without root.
 */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  checkOptions('doctor', options);
  const { repair = false, state } = options;
  if (state !== undefined && !repair)
    throw failure('USAGE', 'doctor', 'only repairs have a state folder', 'give --repair, too');
  const addon = addonCheck();
  const machine = await Machine.open();
  const parts = [kernelChecks(machine), programChecks(), containerdChecks(machine)];
  const checks = [addon, ...(await Promise.all(parts)).flat()];
  const report = { ok: addon.status === 'ok', checks };
  if (!repair) return report;
  return {
    ...report,
    repaired: [...(await repairContainers({ state })), ...(await repairMounts({ state }))],
  };
}
