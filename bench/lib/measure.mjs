// One run of a program, by what the operating system says it used.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { round } from './stats.mjs';

const TIME = '/usr/bin/time'; // GNU time; the shell's built-in doesn't know the peak memory
const LONGEST = 30 * 60_000;

/** Node reads these at each start, whether they are needed or not: up to 20 ms that depend on the machine's settings alone. */
const noCertificates = { NODE_EXTRA_CA_CERTS: undefined };

/**
 * Runs `argv` once. CPU seconds (user + system, and user alone) and peak RSS (of the largest process) count its children too, and are null
 * where GNU time is missing.
 */
export function measure(argv, { directory, env = {}, input, cwd }) {
  const usage = join(directory, `usage-${process.pid}`);
  const timed = existsSync(TIME) ? [TIME, '-o', usage, '-f', '%U %S %M', ...argv] : argv;
  execFileSync('sync'); // what an earlier run left to write must not be charged to this one
  const start = process.hrtime.bigint();
  const run = spawnSync(timed[0], timed.slice(1), {
    env: { ...process.env, ...noCertificates, ...env },
    stdio: [input ?? 'ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
    timeout: LONGEST,
    cwd,
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (run.error) throw run.error;
  if (run.status !== 0) {
    throw new Error(`${argv.join(' ')}: exit ${run.status ?? run.signal}\n${run.stderr}${run.stdout}`);
  }
  const [user, system, peak] =
    timed === argv ? [] : readFileSync(usage, 'utf8').trim().split('\n').at(-1).split(' ').map(Number);
  rmSync(usage, { force: true });
  return {
    seconds: round(seconds, 3),
    cpuSeconds: user === undefined ? null : round(user + system, 2),
    userSeconds: user ?? null,
    peakRssMiB: peak === undefined ? null : round(peak / 1024, 1),
    output: run.stdout,
  };
}
