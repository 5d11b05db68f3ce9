// Claim: a queue adds little: two workers of one thread do what one of two threads does, from registry to registry.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { LazyRegistry, registryMissing } from '../lib/lazy-registry.mjs';
import { layerBytes } from '../lib/layout.mjs';
import { comesUp, freePort } from '../lib/ports.mjs';
import { missingProgram } from '../lib/programs.mjs';
import { smallImages } from '../lib/small-images.mjs';

const IMAGES = 100;
const BYTES = 4e6;
const REPOSITORY = 'queue/source';
const CORES = 2; // that the threads of all workers take
const UNITS = ['images', 'GB of tar'];
const TICKS = 100; // of /proc/PID/stat, a second

export const title = `queue: ${IMAGES} small images (one tar.gz layer of 4 MB each), with dm-verity, from registry to registry; Redis, the registry and the batch run on the same cores`;

export async function* cases(context) {
  const missing = missingProgram('redis-server') ?? registryMissing(context.directory);
  if (missing) {
    console.log(`  skipped: ${missing}`);
    return;
  }
  const { layouts } = await smallImages(context, { count: IMAGES, bytes: BYTES });
  const registry = await LazyRegistry.start(context.inputs.scratch('registry')); // removed with what was made
  const redis = await startRedis(context);
  try {
    for (const [i, layout] of layouts.entries()) await registry.push(layout, REPOSITORY, `v${i}`);
    const fleet = { context, registry, redis, count: 0 };
    const bytes = layouts.reduce((total, path) => total + layerBytes(path), 0);
    yield {
      name: `${IMAGES} images`,
      input: { label: 'layers in the registry', bytes },
      contestants: [
        byWorkers(fleet, { key: 'two', label: 'two workers of one thread', threads: [1, 1] }),
        byWorkers(fleet, { key: 'one', label: 'one worker of two threads', threads: [2] }),
        byBatch(fleet),
      ],
    };
  } finally {
    redis.child.kill('SIGKILL');
    registry.stop();
  }
}

/** What docs/service.md says of sizes: by the clock, where all that runs shares the cores, and by the CPU seconds of the workers alone. */
export function derive([{ contestants }]) {
  const both = (seconds) => {
    const images = (IMAGES * 3600) / seconds;
    return [Math.round(images), round((images * BYTES) / 1e9)];
  };
  const rows = contestants.map(({ label, seconds, counts, cpuSeconds }) => {
    const cpu = counts?.[WORKERS_CPU].median ?? cpuSeconds.median;
    return [label, ...both(seconds.median * CORES), ...both(cpu)];
  });
  return { table: { head: ['an hour a core', ...UNITS, ...UNITS.map((unit) => `${unit}, by CPU`)], rows } };
}

const WORKERS_CPU = 'CPU s of the workers';
const round = (number, digits = 1) => Number(number.toFixed(digits));

/** The workers are up before the batch begins; its time is until the last image has its tag. */
function byWorkers(fleet, { key, label, threads }) {
  const { context, redis } = fleet;
  const list = context.inputs.scratch(`queue-${key}.json`);
  const url = `redis://127.0.0.1:${redis.port}`;
  let workers;
  let before;
  return {
    key,
    label,
    argv: context.ours(['batch', list, '--queue', url, '--quiet'], { threads: context.cores }),
    async before() {
      await redis.flush();
      writeList(fleet, list);
      workers = await Promise.all(threads.map((count) => startWorker(context, url, count)));
      before = workers.map(cpuOf);
    },
    result: () => ({
      counts: {
        [WORKERS_CPU]: round(
          workers.reduce((sum, worker, i) => sum + cpuOf(worker) - before[i], 0),
          2,
        ),
        'MiB of the largest worker': Math.max(...workers.map(peakOf)),
      },
    }),
    after: () => Promise.all(workers.map(end)),
  };
}

/** The same without a queue, in one process. */
function byBatch(fleet) {
  const { context } = fleet;
  const list = context.inputs.scratch('queue-batch.json');
  return {
    key: 'batch',
    label: 'batch without a queue, two threads',
    argv: context.ours(['batch', list, '--quiet'], { threads: 2 }),
    before() {
      rmSync(`${list}.journal`, { recursive: true, force: true });
      writeList(fleet, list);
    },
  };
}

/** Into a repository that nothing is in. */
function writeList(fleet, list) {
  const { host } = fleet.registry;
  const target = `queue/to-${process.pid}-${fleet.count++}`;
  const jobs = Array.from({ length: IMAGES }, (_, i) => ({
    source: `docker://${host}/${REPOSITORY}:v${i}`,
    destination: `docker://${host}/${target}:v${i}`,
    'dm-verity': true,
  }));
  writeFileSync(list, JSON.stringify(jobs));
}

async function startRedis(context) {
  const folder = context.inputs.scratch('redis');
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const flags = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'];
  const child = spawn('redis-server', flags.map(String), { stdio: 'ignore' });
  process.once('exit', () => child.kill('SIGKILL'));
  await comesUp({ host: '127.0.0.1', port });
  const flush = async () => {
    const { Redis } = await import('ioredis');
    const redis = new Redis(port, '127.0.0.1');
    await redis.flushall();
    redis.disconnect();
  };
  return { child, port, flush };
}

async function startWorker(context, url, threads) {
  const [program, ...args] = context.ours(['worker', '--queue', url, '--threads', String(threads)], {
    threads: context.cores,
  });
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  let said = '';
  for await (const text of child.stderr.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    said += text;
    if (said.includes('working on ')) break;
  }
  child.stderr.resume();
  if (child.exitCode !== null) throw new Error(`a worker ended: ${said}`);
  return child;
}

async function end(child) {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

/** Seconds, user and system, since its start. */
function cpuOf({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

const peakOf = ({ pid }) =>
  Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
