// What a cold run needs: nothing of earlier ones, neither processes and mounts nor pages.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const WAIT = 100; // milliseconds
const ATTEMPTS = 100;
const made = new Set();

process.on('exit', () => [...made].forEach(clearAway));

/**
 * A folder for the state of one contestant: `renew()` ends and removes all that is there and makes it anew, `clear()` does without the last.
 * At the latest at the end of this process it is cleared.
 */
export function coldFolder() {
  const path = mkdtempSync(join(tmpdir(), 'se-lazy-')); // short: a socket's path has at most 107 bytes
  made.add(path);
  return {
    path,
    at: (name) => join(path, name),
    renew() {
      clearAway(path);
      mkdirSync(path, { mode: 0o700 });
    },
    clear: () => clearAway(path),
  };
}

/** Ends all processes that were started with a path beneath `folder`, unmounts what is there, removes it. */
function clearAway(folder) {
  for (let i = 0; i < ATTEMPTS; i++) {
    const pids = processesOf(folder);
    const mounts = mountsBeneath(folder);
    if (pids.length === 0 && mounts.length === 0) break;
    if (i > 0) sleep(WAIT);
    for (const pid of pids) end(pid);
    for (const mount of mounts) spawnSync('umount', ['-l', mount]);
  }
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Lets go of the page cache, and reads these files and folders again: programs of both sides. That they are started is in the time, that they
 * are read from the disk is not.
 */
export function dropCaches(programs) {
  execFileSync('sync');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
  const found = programs.filter((path) => path && existsSync(path));
  if (found.length > 0)
    execFileSync('sh', ['-c', 'find -L "$@" -type f -exec cat {} + >/dev/null', 'sh', ...found]);
}

function processesOf(folder) {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`${folder}/`);
    } catch {
      return false; // it has ended meanwhile
    }
  });
}

function mountsBeneath(folder) {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const places = lines.map((line) => line.split(' ')[1] ?? '');
  return places.filter((place) => place.startsWith(`${folder}/`)).reverse();
}

function end(pid) {
  try {
    process.kill(Number(pid), 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
