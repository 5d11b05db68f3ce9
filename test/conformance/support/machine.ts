import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whether the machine has a program on its PATH. */
export function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$0"', name]).status === 0;
}

/** Why trees can't be made and mounted here; null when they can. */
export function whyNoMounts(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!hasProgram('python3')) return 'needs python3';
  spawnSync('modprobe', ['erofs']);
  if (!/\terofs$/m.test(readFileSync('/proc/filesystems', 'utf8'))) return 'the kernel has no erofs';
  return null;
}

/** The title of a group of tests, with the reason why it is skipped. */
export function titleOf(title: string, reason: string | null): string {
  return reason === null ? title : `${title} (skipped: ${reason})`;
}

/** Runs a program that must end with an exit code of at most `atMost`; returns what it printed on stdout. */
export function run(file: string, args: string[], atMost = 0): Buffer {
  const { status, stdout, stderr, error } = spawnSync(file, args, { maxBuffer: 2 ** 30 });
  if (error !== undefined) throw error;
  if (status !== null && status <= atMost) return stdout;
  throw new Error(`${file} ${args.join(' ').slice(0, 500)}: exit ${status}: ${stderr.toString()}`);
}
