// What the tests in the VM share. They run from the folder that prepare.mjs made.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

const packageFolder = resolve(import.meta.dirname, '..', '..', '..');
const require = createRequire(import.meta.url);

/** A module of dist/. */
export const load = (name) => require(join(packageFolder, 'dist', name));
export const program = join(packageFolder, 'dist/cli/main.js');
/** A file that prepare.mjs made. */
export const prepared = (name) => join(packageFolder, '..', name);
export const readJson = (name) => JSON.parse(readFileSync(prepared(name), 'utf8'));

/** Where the tests mount, and what the library notes: on the guest's disk, as on a real machine. */
const work = prepared('work');
const states = join(work, 'states');
export const stateNamed = (name) => join(states, name);
export const state = stateNamed('main');
mkdirSync(states, { recursive: true });

let places = 0;
/** A new folder to mount at. */
export function place() {
  const folder = join(work, `m${places++}-${process.pid}`);
  mkdirSync(folder);
  return folder;
}

/** Runs one test: a line `ok: …` when it passes; else its error, and the process will fail. */
export async function test(name, body) {
  const started = performance.now();
  try {
    await body();
    console.log(`ok: ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAILED: ${name}\n${inspect(error, { colors: false })}`);
    clearAway();
  }
}

/** After a test that failed: what it left is not the next one's fault. */
function clearAway() {
  console.log(`it left ${leftovers().join(' ')}`);
  const shell = `grep -o ' ${work}/[^ ]*' /proc/self/mountinfo | xargs -r umount -l; dmsetup remove_all --deferred; rm -rf ${states}/*`;
  execFileSync('/bin/sh', ['-c', shell], { stdio: 'ignore' });
}

/**
 * Reads everything under a mount point. Every name, mode, target and byte must be as in `tree`; files that can't be read are
 * allowed, and returned.
 */
export function readAll(folder, tree) {
  const unreadable = [];
  const names = attempt(() => readdirSync(folder, { recursive: true, encoding: 'utf8' }));
  if (names === null) return ['.'];
  assert.deepEqual(names.sort(), Object.keys(tree).sort(), 'names');
  for (const [path, expected] of Object.entries(tree)) {
    const found = attempt(() => describe(join(folder, path)));
    if (found === null) unreadable.push(path);
    else assert.deepEqual(found, expected, path);
  }
  return unreadable;
}

/** Everything must be there, and right. */
export function checkAll(folder, tree) {
  assert.deepEqual(readAll(folder, tree), [], 'files that can not be read');
}

function describe(path) {
  const status = lstatSync(path);
  if (status.isDirectory()) return ['dir'];
  if (status.isSymbolicLink()) return ['symlink', readlinkSync(path)];
  const content = readFileSync(path);
  return ['file', status.mode & 0o7777, createHash('sha256').update(content).digest('hex')];
}

/** Null when the kernel says that the data is bad. */
function attempt(read) {
  try {
    return read();
  } catch (error) {
    if (error.code === 'EIO' || error.code === 'EUCLEAN') return null;
    throw error;
  }
}

/**
 * What a state folder has that says nothing: empty folders; decoded layers, stores of lazy ones and documents, which are kept for the next
 * mount; which images a cache shows; what the lazy server said.
 */
const decoded = '[0-9a-f]{64}(/(image|image\\.dmverity|vouched-[0-9a-f]{64}\\.json))?';
const store = 'lazy(/[0-9a-f]{64}(/(data|digests|tables|chunks-1))?)?';
const stays = new RegExp(
  `^[^/]+(/(mounts|layers|containers|lock|lazy(/(log|layers|layers\\.json))?|content(/(images\\.json|${store}|documents(/[^/]+)?|${decoded}))?))?$`,
);

/** Loop and dm-verity devices that are in use, our mounts, and what the state folder still has. */
export function leftovers() {
  const blocks = readdirSync('/sys/block');
  const loops = blocks.filter((name) => existsSync(`/sys/block/${name}/loop/backing_file`));
  const devices = blocks.filter((name) => name.startsWith('dm-'));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((target) => target?.startsWith(`${work}/`));
  const notes = namesIn(states).filter((name) => !stays.test(name));
  return [...loops, ...devices, ...mounts, ...notes];
}

/** Also while a lazy server ends, whose files can't be looked at any more. */
function namesIn(folder) {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch (error) {
    return [`${folder}: ${error.code}`];
  }
}

/** Nothing may be left; devices go a moment after their last user. */
export async function checkNothingLeft(what = 'what is left') {
  for (let i = 0; leftovers().length > 0 && i < 600; i++) await sleep(100);
  assert.deepEqual(leftovers(), [], what);
}

/** What has been read is read from the disk again. */
export function dropCaches() {
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

/** What a program prints. */
export function output(name, ...args) {
  return execFileSync(name, args, { encoding: 'utf8' });
}
