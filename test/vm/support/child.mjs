// A process that mounts, for tests that need one of its own:
//   child.mjs kill N SOURCE TARGET STATE    it kills itself at the Nth moment of mounting, from 0
//   child.mjs moments SOURCE TARGET STATE   prints the moments of a mount, and unmounts it
//   child.mjs many COUNT SOURCE...          mounts COUNT times in parallel, and unmounts
import { load } from './guest.mjs';
import { mountMany } from './many.mjs';

const [mode, ...args] = process.argv.slice(2);
const { mountWithHooks } = load('mount/mount.js');
const { unmountImage } = load('mount/unmount.js');

async function watch(onStep, source, target, state) {
  await mountWithHooks(source, target, { state, verity: 'require' }, { onStep });
}

if (mode === 'kill') {
  let left = Number(args.shift());
  await watch(() => left-- > 0 || process.kill(process.pid, 'SIGKILL'), ...args);
} else if (mode === 'moments') {
  const moments = [];
  await watch((moment) => void moments.push(moment), ...args);
  await unmountImage(args[1], { state: args[2] });
  console.log(JSON.stringify(moments));
} else if (mode === 'many') {
  await mountMany(Number(args.shift()), args);
}
