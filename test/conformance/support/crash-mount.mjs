// Mounts by loop devices, and ends itself by SIGKILL at one moment of it: crash-mount.mjs MOMENT REF TARGET STATE RW.
// Moments are counted from 0. When the one does not come, it prints them all, a line each.
import { createRequire } from 'node:module';
import { loopOnly, watchedSteps } from '../../support/watched-steps.mjs';

const { mountWith } = createRequire(import.meta.url)('../../../dist/mount/mount.js');
const [moment, reference, target, state, rw] = process.argv.slice(2);
const moments = [];
const onStep = (name) => {
  if (moments.length === Number(moment)) process.kill(process.pid, 'SIGKILL');
  moments.push(name);
};
await mountWith(reference, target, { state, rw }, { ...watchedSteps(onStep), ...loopOnly });
console.log(moments.join('\n'));
