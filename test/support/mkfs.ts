import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An mkfs.erofs that can be asked for layers; null with the reason why there is none. */
export function installedMkfs(): { path: string; reason: null } | { path: null; reason: string } {
  const path = process.env['MKFS_EROFS'] ?? 'mkfs.erofs';
  const { error, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  if (error !== undefined) return { path: null, reason: 'no mkfs.erofs; $MKFS_EROFS may name one' };
  const [, version = '0.0'] = /(\d+\.\d+)/.exec(stdout) ?? [];
  const [major, minor] = version.split('.').map(Number) as [number, number];
  return major > 1 || minor >= 8
    ? { path, reason: null }
    : { path: null, reason: `mkfs.erofs ${version} is older than 1.8; $MKFS_EROFS may name another` };
}

/** What a stand-in does once it is asked for an image; $IMAGE is where that belongs. */
export interface StandIn {
  /** What it prints when it is asked for its version, and the exit code of that. */
  version?: string;
  versionExit?: number;
  script: string;
}

/**
 * A program in the place of mkfs.erofs, for machines without it and for what the real one does not do on demand. It leaves its
 * arguments, one a line, its environment and its standard input in `folder`. Returns its path.
 */
export function writeStandIn(
  folder: string,
  { version = '1.8.10', versionExit = 0, script }: StandIn,
): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'mkfs.erofs');
  const text = `#!/bin/sh
if [ "$1" = --version ]; then echo 'mkfs.erofs (erofs-utils) ${version}'; exit ${versionExit}; fi
printf '%s\\n' "$@" >'${folder}/arguments'
env >'${folder}/environment'
for IMAGE; do :; done
${script}
`;
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}
