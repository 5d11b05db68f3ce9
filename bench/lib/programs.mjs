// Programs that are not ours: found, or built.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

/** Builds the Go program of a folder of bench/: `{path}` or `{missing}`. */
export function buildGo(directory, folder) {
  const path = join(directory, `bench-${folder}`);
  const cwd = join(ROOT, 'bench', folder);
  const { error, status, stderr } = spawnSync('go', ['build', '-o', path, '.'], { cwd, encoding: 'utf8' });
  if (error) return { missing: 'Go is not installed' };
  return status === 0 ? { path } : { missing: `go build failed: ${stderr.trim().split('\n').at(-1)}` };
}

/** mkfs.erofs as the Go program will find it; --tar is usable from 1.8 on (Debian 12 has 1.5). */
export function findMkfs() {
  const mkfs = process.env.MKFS_EROFS || 'mkfs.erofs';
  const { stdout, stderr } = spawnSync(mkfs, ['-V'], { encoding: 'utf8' }); // 1.5 has it fail, but prints its version
  const version = /mkfs\.erofs[^\n]* ((\d+)\.(\d+)(\.\d+)?)/.exec(`${stdout}${stderr}`);
  if (!version)
    return { mkfsMissing: 'mkfs.erofs 1.8 or later is not installed (MKFS_EROFS names one outside PATH)' };
  const [, text, major, minor] = version;
  const old = Number(major) < 1 || (Number(major) === 1 && Number(minor) < 8);
  return old
    ? { mkfsMissing: `mkfs.erofs ${text} is older than 1.8 (MKFS_EROFS names another)` }
    : { mkfs, mkfsVersion: text };
}

/** First path of a program, null where there is none. */
export function which(program) {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

/** Why a server is not here that Debian has a package of; undefined when it is. */
export const missingProgram = (program) =>
  which(program) === null ? `${program} is not installed (apt install ${program})` : undefined;

/** A command line for a shell. */
export const quoted = (argv) => argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
