// A process that mounts, for tests that need one of its own:
//   child.mjs kill N SOURCE TARGET STATE    it kills itself at the Nth moment of mounting, from 0
//   child.mjs many COUNT SOURCE...          mounts COUNT times in parallel, and unmounts
import { watchedSteps } from '../../support/watched-steps.mjs';
import { load } from './guest.mjs';
import { mountMany } from './many.mjs';

const [mode, ...args] = process.argv.slice(2);

if (mode === 'kill') {
  const { mountWith } = load('mount/mount.js');
  const [number, source, target, state] = args;
  let left = Number(number);
  const onStep = () => left-- > 0 || process.kill(process.pid, 'SIGKILL');
  await mountWith(source, target, { state, verity: 'require' }, watchedSteps(onStep));
} else {
  const [count, ...sources] = args;
  await mountMany(Number(count), sources);
}
