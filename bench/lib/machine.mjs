// What a reader needs to know of the machine to judge the numbers.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { round } from './stats.mjs';

export function describeMachine() {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    instructions: instructionSets(),
    cores: processors.length,
    memoryGiB: round(totalmem() / 2 ** 30, 1),
    kernel: release(),
    node: process.version,
    go: firstLine('go', ['env', 'GOVERSION']),
    commit: firstLine('git', ['describe', '--always', '--dirty']),
    loadAverage: loadavg()[0].toFixed(2),
  };
}

/** Those that the hash kernels ask for. */
function instructionSets() {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' ') ?? [];
  return ['avx2', 'avx512f', 'avx512bw', 'sha_ni'].filter((name) => flags.includes(name));
}

/** First line of what a program prints on stdout, null where it fails. */
function firstLine(program, args) {
  const run = spawnSync(program, args, { encoding: 'utf8' });
  return run.status === 0 ? run.stdout.split('\n')[0].trim() : null;
}
