import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { load, place, state } from './guest.mjs';

/** Mounts the sources in turn, `count` times in parallel, looks at each, and unmounts them in parallel. */
export async function mountMany(count, sources) {
  const { mountImage } = load('mount/mount.js');
  const { unmountImage } = load('mount/unmount.js');
  const targets = Array.from({ length: count }, place);
  const mount = (target, i) => mountImage(sources[i % sources.length], target, { state, verity: 'require' });
  await Promise.all(targets.map(mount));
  for (const target of targets) assert.ok(readdirSync(target).length > 0, `${target} is empty`);
  const undone = await Promise.all(targets.map((target) => unmountImage(target, { state })));
  assert.ok(undone.every((one) => one.undone.length > 0));
}
