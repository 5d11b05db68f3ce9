// Many mounts at once, from several processes; and processes that are killed at every moment of mounting.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { watchedSteps } from '../support/watched-steps.mjs';
import {
  checkNothingLeft,
  load,
  place,
  prepared,
  readJson,
  state,
  stateNamed,
  test,
} from './support/guest.mjs';
import { mountMany } from './support/many.mjs';

const { repairMounts, unmountImage } = load('mount/unmount.js');
const { listMounts } = load('mount/mounts.js');
const { mountWith } = load('mount/mount.js');
const childScript = new URL('./support/child.mjs', import.meta.url).pathname;

/** How a child ended, and what it printed. */
async function child(...args) {
  return promisify(execFile)(process.execPath, [childScript, ...args]).catch((error) => error);
}

const image = `oci:${prepared('image')}`;
const layers = readJson('layers.json').map(({ name }) => prepared(`${name}.erofs`));

await test('50 mounts and unmounts in parallel, by two processes', async () => {
  const sources = [...layers, image];
  const other = child('many', '20', ...sources);
  await mountMany(30, sources);
  assert.equal((await other).stderr, '');
  await checkNothingLeft();
});

const [single] = layers;
let kills = 0;

/** Kills a mount at its Nth moment; then it is undone in one of two ways, whole or not. */
async function killAndUndo(source, number, moment) {
  const target = place();
  const state = stateNamed(`kill-${kills++}`);
  const { signal } = await child('kill', String(number), source, target, state);
  assert.equal(signal, 'SIGKILL', `it lives past ${moment}`);
  const whole = (await listMounts({ state })).length > 0;
  if (number % 2 === 0 && !whole) await repairMounts({ state });
  else await unmountImage(target, { state });
}

/** What happens while it is mounted, in order. */
async function momentsOf(source) {
  const moments = [];
  const target = place();
  const onStep = (moment) => void moments.push(moment);
  await mountWith(source, target, { state, verity: 'require' }, watchedSteps(onStep));
  await unmountImage(target, { state });
  return moments;
}

/** At those of its moments that `filter` takes, some at a time. */
async function killAtEach(source, filter) {
  const moments = await momentsOf(source);
  const chosen = moments.map((moment, number) => ({ moment, number })).filter(filter);
  const atOnce = 3;
  for (let start = 0; start < chosen.length; start += atOnce) {
    const batch = chosen.slice(start, start + atOnce);
    await Promise.all(batch.map(({ moment, number }) => killAndUndo(source, number, moment)));
    await checkNothingLeft(`after kills at ${batch.map(({ moment }) => moment).join(', ')}`);
  }
  return chosen.length;
}

await test('killed at each step of mounting a layer, then undone: nothing is left', async () => {
  // Between the end of a step and the beginning of the next, nothing changes.
  const count = await killAtEach(single, ({ moment }, i) => i === 0 || moment.startsWith('after'));
  assert.ok(count >= 10, `${count} moments`);
});

await test('killed at steps of mounting an image, then undone: nothing is left', async () => {
  const filter = ({ moment }, i, all) =>
    /overlay|after done/.test(moment) || i === Math.floor(all.length / 2);
  const count = await killAtEach(image, filter);
  assert.equal(count, 4);
});
