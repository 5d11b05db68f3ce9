// What a reboot takes away, in the namespaces of a scenario.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Kills all processes whose command line names one of these. */
export function endAll(...programs) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (programs.some((program) => line.includes(program))) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Unmounts all that is beneath these folders, the uppermost first. */
export function unmountAll(folders) {
  const targets = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => folders.some((folder) => target.startsWith(folder)));
  for (const target of targets.reverse()) execFileSync('umount', ['-l', target]);
}

/** Removes all in a folder, but for these names. */
export function emptyFolder(folder, ...kept) {
  for (const name of readdirSync(folder))
    if (!kept.includes(name)) rmSync(join(folder, name), { recursive: true, force: true });
}
