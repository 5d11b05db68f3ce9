// Runs a program and prints {"seconds"}: from before it is started to the first bytes on its stdout, which have to be `ok`.
//   node first-output.mjs LIBRARY PROGRAM ARGUMENT…
import { spawn } from 'node:child_process';

const [program, ...args] = process.argv.slice(3);
const start = process.hrtime.bigint();
const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
let [seconds, output] = [null, ''];
child.stdout.on('data', (data) => {
  seconds ??= Number(process.hrtime.bigint() - start) / 1e9;
  output += data;
});
child.on('close', (code) => {
  if (code === 0 && output.trim() === 'ok') {
    console.log(JSON.stringify({ seconds }));
    return;
  }
  console.error(`exit ${code}, printed ${JSON.stringify(output.slice(-500))}`);
  process.exitCode = 1;
});
