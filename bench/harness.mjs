// How two programs are compared: in turn, so that a slow minute of the machine hits both, and by what the
// operating system says each of them used.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

const TIME = '/usr/bin/time'; // GNU time; the shell's built-in doesn't know the peak memory

/**
 * Runs `argv` once. CPU seconds (user + system) and peak RSS (of the largest process) count its children too, and are null
 * where GNU time is missing.
 */
export function measure(argv, { directory, env = {} }) {
  const usage = join(directory, `usage-${process.pid}`);
  const timed = existsSync(TIME) ? [TIME, '-o', usage, '-f', '%U %S %M', ...argv] : argv;
  execFileSync('sync'); // what an earlier run left to write must not be charged to this one
  const start = process.hrtime.bigint();
  const run = spawnSync(timed[0], timed.slice(1), {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (run.error) throw run.error;
  if (run.status !== 0) throw new Error(`${argv.join(' ')}: exit ${run.status ?? run.signal}\n${run.stderr}`);
  const [user, system, peak] =
    timed === argv ? [] : readFileSync(usage, 'utf8').trim().split(' ').map(Number);
  rmSync(usage, { force: true });
  return {
    seconds: round(seconds, 3),
    cpuSeconds: user === undefined ? null : round(user + system, 2),
    peakRssMiB: peak === undefined ? null : round(peak / 1024, 1),
    output: run.stdout,
  };
}

/**
 * Runs the claim's two sides in turn: one warm-up pair, then `runs` pairs. A side is `{argv, env, result}`, where
 * `result(output)` gives what the program made, `{bytes, …}`; `claim.same` throws when the two didn't do the same work.
 */
export function comparePairs(claim, { directory, runs, log }) {
  const blob = join(directory, 'output.blob');
  const runSide = (side) => {
    rmSync(blob, { force: true });
    const { output, ...usage } = measure([...side.argv, blob], { directory, env: side.env });
    return { ...usage, made: side.result(JSON.parse(output)) };
  };
  const pairs = [];
  try {
    for (let i = 0; i <= runs; i++) {
      const pair = { ours: runSide(claim.ours), go: runSide(claim.go) };
      claim.same(pair.ours.made, pair.go.made);
      log(`  ${i === 0 ? 'warm-up' : `pair ${i}`}: ours ${pair.ours.seconds} s, Go ${pair.go.seconds} s`);
      if (i > 0) pairs.push(pair);
    }
  } finally {
    rmSync(blob, { force: true });
  }
  return { pairs, summary: summarize(pairs) };
}

function summarize(pairs) {
  const side = (name) => ({
    seconds: spread(pairs.map((pair) => pair[name].seconds)),
    cpuSeconds: spread(pairs.map((pair) => pair[name].cpuSeconds)),
    peakRssMiB: spread(pairs.map((pair) => pair[name].peakRssMiB)),
    bytes: pairs[0][name].made.bytes,
  });
  const [ours, go] = [side('ours'), side('go')];
  return {
    ours,
    go,
    speedup: {
      ofMedians: round(go.seconds.median / ours.seconds.median, 2),
      pairwise: spread(pairs.map((pair) => round(pair.go.seconds / pair.ours.seconds, 2))),
    },
    sizeRatio: round(ours.bytes / go.bytes, 4),
  };
}

/** Minimum, median, maximum; null when the numbers weren't measured. */
export function spread(numbers) {
  if (numbers.includes(null)) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median: round(median, 3), max: sorted.at(-1) };
}

/** What a reader needs to know of the machine to judge the numbers. */
export function describeMachine() {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGiB: round(totalmem() / 2 ** 30, 1),
    kernel: release(),
    node: process.version,
    go: firstLine('go', ['env', 'GOVERSION']),
    commit: firstLine('git', ['describe', '--always', '--dirty']),
    loadAverage: loadavg()[0].toFixed(2),
  };
}

/** First line of what a program prints on stdout, null where it fails. */
function firstLine(program, args) {
  const run = spawnSync(program, args, { encoding: 'utf8' });
  return run.status === 0 ? run.stdout.split('\n')[0].trim() : null;
}

function round(number, digits) {
  return Number(number.toFixed(digits));
}
