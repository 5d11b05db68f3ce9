import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whether it is on the PATH. */
export function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$0"', name]).status === 0;
}

/** Why what only root can do is not tested here; null where it is. */
export const rootOnly = process.getuid?.() === 0 ? null : 'needs root';

/** Why tests that call these programs can't run here; null when they can. */
export function whyWithout(...programs: string[]): string | null {
  const missing = programs.filter((name) => !hasProgram(name));
  return missing.length === 0 ? null : `needs ${missing.join(' and ')}`;
}

/** Why trees can't be made and mounted here; null when they can. */
export function whyNoMounts(): string | null {
  return rootOnly ?? whyWithout('python3') ?? whyNoFilesystem('erofs');
}

/** Why containers can't run here; null when they can. */
export function whyNoContainers(): string | null {
  const noRuntime = hasProgram('crun') ? null : whyWithout('runc');
  const obstacle = rootOnly ?? whyNoFilesystem('erofs', 'overlay') ?? noRuntime;
  if (obstacle !== null) return obstacle;
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  // A runtime makes another folder its root, which the kernel allows where the root is a mount.
  if (!/^\d+ \d+ \S+ \S+ \/ /m.test(mounts)) return 'a container can not be started out of a chroot';
  return mounts.includes(' - cgroup') ? null : 'needs cgroups';
}

function whyNoFilesystem(...names: string[]): string | null {
  for (const name of names) spawnSync('modprobe', [name]);
  const known = readFileSync('/proc/filesystems', 'utf8');
  const absent = names.filter((name) => !known.includes(`\t${name}\n`));
  return absent.length === 0 ? null : `the kernel has no ${absent.join(' and no ')}`;
}

/** The title of tests, with the reason why they are skipped: scripts/test-report.mjs looks for it. */
export function titleOf(title: string, reason: string | null): string {
  return reason === null ? title : `${title} [skipped: ${reason}]`;
}

/** Runs a program that must end with an exit code of at most `atMost`; returns what it printed on stdout. */
export function run(file: string, args: string[], atMost = 0): Buffer {
  const { status, stdout, stderr, error } = spawnSync(file, args, { maxBuffer: 2 ** 30 });
  if (error !== undefined) throw error;
  if (status !== null && status <= atMost) return stdout;
  throw new Error(`${file} ${args.join(' ').slice(0, 500)}: exit ${status}: ${stderr.toString()}`);
}
