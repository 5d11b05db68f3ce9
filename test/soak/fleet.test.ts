import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyImage } from '../../src/image/verify';
import { titleOf, whyWithout } from '../conformance/support/machine';
import { DockerRegistry } from '../support/docker-registry';
import { freePort } from '../support/free-port';
import { writeManyImages, type ManyImages } from '../support/many-images';
import { RedisServer } from '../support/redis-server';
import { rounds } from '../support/rounds';
import { WorkerProcess } from '../support/worker-process';
import { count } from './support/figures';

// The claim: whatever dies, and however often, every image is right at the end, and no layer is converted twice for nothing.

vi.setConfig({ testTimeout: 600_000, hookTimeout: 300_000 });

const reason = whyWithout('redis-server', 'docker-registry');
const program = join(__dirname, '../../dist/cli/main.js');
const images = rounds(1000);
const bases = 30;
/** Milliseconds: Redis writes to the disk each second, and an outage outlives the leases. */
const lostSecond = 2500;
const leaseSeconds = 10;

let folder = '';
let port: number;
let redis: RedisServer;
let registry: DockerRegistry;
let sources: ManyImages;
/** What one process, killed now and then, makes of each image. */
let expected: string[];

const newRegistry = () => DockerRegistry.start(join(folder, 'registry'), { port });
const scratch = (): string => join(folder, 'tmp');

beforeAll(async () => {
  if (reason !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'soak-fleet-'));
  await mkdir(scratch());
  port = await freePort();
  sources = await writeManyImages(join(folder, 'source'), images, bases);
  redis = await RedisServer.start(join(folder, 'redis'));
  registry = await newRegistry();
});
afterAll(async () => {
  if (reason !== null) return;
  await redis.kill();
  await registry.stop();
  await rm(folder, { recursive: true });
});

interface Batch {
  jobs: { status: string; digest: string; error?: { message: string } }[];
}

async function writeList(name: string): Promise<string> {
  const jobs = sources.refs.map((ref) => ({
    source: `oci:${join(folder, 'source')}:${ref}`,
    destination: `docker://127.0.0.1:${port}/${name}/${ref}:erofs`,
  }));
  const file = join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify(jobs));
  return file;
}

/** `batch` in a process of its own: how many jobs have an end is told to `onEnded`. */
function startBatch(file: string, flags: string[], onEnded: (ended: number) => void) {
  const args = [program, 'batch', file, '--json', '--progress', 'json', ...flags];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: scratch() },
  });
  let [out, rest] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const done = /"phase":"batch","done":(\d+)/.exec(line)?.[1];
      if (done !== undefined) onEnded(Number(done));
    }
  });
  const ended = once(child, 'exit').then(() => out);
  return { child, ended };
}

/** Runs `acts` one by one, spread over the jobs of a batch: the next one when so many have an end. */
class Schedule {
  private next = 0;
  private running: Promise<void> = Promise.resolve();
  constructor(private readonly acts: (() => Promise<void>)[]) {}

  readonly at = (ended: number): void => {
    while (this.next < this.acts.length && ended >= ((this.next + 1) * images) / (this.acts.length + 1)) {
      const act = this.acts[this.next++]!;
      this.running = this.running.then(act);
    }
  };

  get isOver(): boolean {
    return this.next === this.acts.length;
  }

  async end(): Promise<void> {
    await this.running;
  }
}

async function expectRight(name: string, batch: Batch, digests: string[]): Promise<void> {
  expect(batch.jobs.filter(({ status }) => status === 'failed')).toEqual([]);
  expect(batch.jobs.map(({ digest }) => digest)).toEqual(digests);
  const left = [...sources.refs.entries()];
  const check = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const verified = await verifyImage(`docker://127.0.0.1:${port}/${name}/${next[1]}:erofs`);
      expect(verified).toMatchObject({ ok: true });
    }
  };
  await Promise.all([check(), check(), check(), check()]);
}

/** Of a process, in MiB, since its start. */
function peakMemory(pid: number): number {
  const file = `/proc/${pid}/status`;
  const found = existsSync(file) ? /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
  return Math.round(Number(found ?? 0) / 1024);
}

describe(titleOf('a thousand images', reason), { skip: reason !== null }, () => {
  test('by one process with a journal, that is killed, while the registry is restarted', async (context) => {
    const list = await writeList('alone');
    let kills = 0;
    let current: ReturnType<typeof startBatch>;
    const kill = async (): Promise<void> => {
      kills++;
      current.child.kill('SIGKILL');
      await current.ended;
    };
    const restart = async (): Promise<void> => {
      await registry.stop();
      registry = await newRegistry();
    };
    const schedule = new Schedule([kill, restart, ...Array.from({ length: rounds(10) }, () => kill)]);
    for (;;) {
      current = startBatch(list, [], schedule.at);
      const out = await current.ended;
      await schedule.end();
      if (current.child.signalCode !== null) continue;
      const batch = JSON.parse(out) as Batch;
      expected = batch.jobs.map(({ digest }) => digest);
      await expectRight('alone', batch, expected);
      break;
    }
    expect(kills).toBe(rounds(10) + 1);
    count(context, 'images', images);
    count(context, 'kills', kills);
    expect(readdirSync(scratch())).toEqual([]);
  });

  test('by four workers that are killed, while Redis and the registry are', async (context) => {
    const list = await writeList('fleet');
    const converted: { name: string; time: number }[] = [];
    const outages: { from: number; to: number }[] = [];
    let memory = 0;
    const start = (): WorkerProcess =>
      WorkerProcess.start(redis.url, ['--threads', '1', '--jobs', '4', '--lease', String(leaseSeconds)], {
        env: { TMPDIR: scratch() },
        onLine: ({ state, item }) => {
          if (state === 'converted') converted.push({ name: item, time: Date.now() });
        },
      });
    const workers = Array.from({ length: 4 }, start);
    const killWorker = async (): Promise<void> => {
      const at = Math.floor(Math.random() * workers.length);
      memory = Math.max(memory, peakMemory(workers[at]!.child.pid!));
      await workers[at]!.end('SIGKILL');
      workers[at] = start();
      count(context, 'workersKilled');
    };
    const killRedis = async (): Promise<void> => {
      const from = Date.now();
      await redis.kill();
      await redis.start();
      outages.push({ from, to: Date.now() });
      count(context, 'redisKilled');
    };
    const killRegistry = async (): Promise<void> => {
      await registry.stop();
      registry = await newRegistry();
      count(context, 'registryKilled');
    };
    const addWorker = (): Promise<void> => Promise.resolve(void workers.push(start()));
    const acts = [
      ...Array.from({ length: rounds(40) }, () => killWorker),
      ...Array.from({ length: rounds(3) }, () => killRedis),
      ...Array.from({ length: rounds(2) }, () => killRegistry),
    ].sort(() => Math.random() - 0.5);
    acts.splice(acts.length >> 1, 0, addWorker);
    const schedule = new Schedule(acts);
    try {
      const { ended } = startBatch(list, ['--queue', redis.url], schedule.at);
      const watching = watchTags('fleet', ended);
      const batch = JSON.parse(await ended) as Batch;
      await schedule.end();
      expect(schedule.isOver).toBe(true);
      expect(await watching).toEqual([]);
      await expectRight('fleet', batch, expected);
      for (const { child } of workers) memory = Math.max(memory, peakMemory(child.pid!));
      expect(workers.at(-1)!.lines.some(({ state }) => state === 'started')).toBe(true);
    } finally {
      await Promise.all(workers.map((worker) => worker.end('SIGTERM')));
    }
    expect(readdirSync(scratch())).toEqual([]);
    const { again, unexplained } = repeated(converted, outages);
    count(context, 'images', images);
    count(context, 'layers', sources.layers);
    count(context, 'convertedAgainAfterOutages', again);
    count(context, 'workerMemoryMiB', memory);
    expect(unexplained).toEqual([]);
    expect(memory).toBeLessThanOrEqual(200);
  });
});

/** Layers that were converted again: after Redis had lost its last second, or a lease ended while it was away, and otherwise. */
function repeated(converted: { name: string; time: number }[], outages: { from: number; to: number }[]) {
  const last = new Map<string, number>();
  const unexplained: string[] = [];
  let again = 0;
  for (const { name, time } of converted) {
    const before = last.get(name);
    last.set(name, time);
    if (before === undefined) continue;
    again++;
    const isLost = outages.some(
      ({ from, to }) => before >= from - lostSecond && before <= to + 2 * leaseSeconds * 1000,
    );
    if (!isLost) unexplained.push(name);
  }
  return { again, unexplained };
}

/** Looks at tags while a batch runs; those that were something else than what is right. */
async function watchTags(name: string, ended: Promise<unknown>): Promise<string[]> {
  const wrong: string[] = [];
  const state = { isOver: false };
  void ended.then(() => (state.isOver = true));
  while (!state.isOver) {
    const at = Math.floor(Math.random() * images);
    const url = `http://127.0.0.1:${port}/v2/${name}/${sources.refs[at]!}/manifests/erofs`;
    const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    const answer = await fetch(url, { method: 'HEAD', headers }).catch(() => null);
    const digest = answer?.status === 200 ? answer.headers.get('docker-content-digest') : null;
    if (digest !== null && digest !== expected[at]) wrong.push(`${sources.refs[at]!}: ${digest}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return wrong;
}
