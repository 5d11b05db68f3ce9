// All tests of the VM in one process: each one that starts costs seconds there.
import { output } from './guest.mjs';

console.log(`Linux ${output('uname', '-r').trim()}`);
for (const name of [
  'mount',
  'corruption',
  'busy',
  'processes',
  'run',
  'lazy',
  'containerd',
  'stock-containerd',
])
  await import(`../${name}.mjs`);
