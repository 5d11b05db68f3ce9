// Has the kernel mount a converted image, layer over layer, and runs programs out of it.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { changedText } from './machine-image.mjs';

/** What a mount takes, by the names of doctor's checks. */
const needed = ['root', 'erofs', 'overlay'];

/** `made` as writeMachineImage returned it. `program` runs the program with its output shown; false when it fails. */
export function runConverted({ cli, program, work, image, made }) {
  const obstacle = whyNot(cli);
  if (obstacle !== null) {
    console.log(`\nNot mounted: ${obstacle}.`);
    return;
  }
  const target = join(work, 'mounted');
  const state = ['--state', join(work, 'state')];
  mkdirSync(target);
  if (!program('mount', image, target, ...state)) return;
  try {
    useMounted(target, made);
  } finally {
    program('umount', target, ...state);
  }
}

/** Runs a shell and Node in the mounted root, and looks at what the third layer did. */
function useMounted(target, { changed, deleted, added }) {
  const run = (...args) =>
    execFileSync('chroot', [target, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  process.stdout.write(run('/bin/sh', '-c', 'echo "a shell runs out of an EROFS image, process $$"'));
  process.stdout.write(run(process.execPath, `/${added}`));
  const look = `JSON.stringify([fs.readFileSync('/${changed}', 'utf8'), fs.existsSync('/${deleted}')])`;
  const [text, isThere] = JSON.parse(run(process.execPath, '-p', look));
  if (text !== changedText) throw new Error(`/${changed} is not what the third layer wrote`);
  if (isThere) throw new Error(`/${deleted} is there, though the third layer deleted it`);
  console.log(`/${changed} is the changed one, /${deleted} is gone.`);
}

/** What keeps this machine from mounting; null if nothing does. */
function whyNot(cli) {
  const { checks } = JSON.parse(execFileSync(process.execPath, [cli, 'doctor', '--json']));
  const missing = checks.find(({ name, status }) => needed.includes(name) && status === 'missing');
  return missing === undefined ? null : `${missing.name}: ${missing.detail}`;
}
