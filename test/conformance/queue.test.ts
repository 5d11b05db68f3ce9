import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { documentOf, runCli, runJson } from '../e2e/run-cli';
import { useFleet } from '../support/fleet';
import { HeldImage } from '../support/held-image';
import { writeManyImages, type ManyImages } from '../support/many-images';
import { RedisServer } from '../support/redis-server';
import type { WorkerProcess } from '../support/worker-process';
import { titleOf, whyWithout } from './support/machine';

// The claim: workers of a queue give what one process gives, each layer is converted once, and whatever dies, jobs do not get lost.

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const reason = whyWithout('redis-server', 'docker-registry');
const images = 12;
const bases = 3;

const fleet = useFleet(reason, { registry: true });
let sources: ManyImages;
beforeAll(async () => {
  if (reason !== null) return;
  sources = await writeManyImages(join(fleet.folder, 'source'), images, bases);
  await mkdir(join(fleet.folder, 'tmp'));
});

const queueOf = (name: string): string => fleet.queueOf(name);
const startWorker = (name: string, ...flags: string[]): WorkerProcess =>
  fleet.startWorker(queueOf(name), flags, { TMPDIR: join(fleet.folder, 'tmp') });

/** A job for each image, each into a repository of its own. */
const jobsOf = (name: string, more: object = {}): object[] =>
  sources.refs.map((ref) => ({
    source: `oci:${join(fleet.folder, 'source')}:${ref}`,
    destination: `docker://${fleet.registry.host}/${name}/${ref}:erofs`,
    ...more,
  }));
const writeList = (name: string, more: object = {}): Promise<string> =>
  fleet.writeList(name, jobsOf(name, more));

interface Batch {
  jobs: { status: string; digest: string; error?: { code: string; message: string } }[];
}

const converted = (): string[] =>
  fleet.workers.flatMap(({ lines }) =>
    lines.filter(({ state }) => state === 'converted').map(({ item }) => item),
  );

describe(titleOf('a queue in Redis', reason), { skip: reason !== null }, () => {
  test('gives what a journal gives, and converts each layer once', async () => {
    const local = await documentOf<Batch>(['batch', await writeList('local')]);
    startWorker('same');
    startWorker('same');
    const list = await writeList('same');
    const batch = await documentOf<Batch>(['batch', list, '--queue', queueOf('same')]);
    expect(batch.jobs.map(({ status, digest }) => ({ status, digest }))).toEqual(
      local.jobs.map(({ digest }) => ({ status: 'done', digest })),
    );
    expect(converted()).toHaveLength(sources.layers);
    expect(new Set(converted()).size).toBe(sources.layers);
    const again = await documentOf<Batch>(['batch', list, '--queue', queueOf('same')]);
    expect(again.jobs.every(({ status }) => status === 'skipped')).toBe(true);
    expect(again.jobs.map(({ digest }) => digest)).toEqual(local.jobs.map(({ digest }) => digest));
    for (const ref of sources.refs.slice(0, 2)) {
      const image = `docker://${fleet.registry.host}/same/${ref}:erofs`;
      const check = await documentOf<{ ok: boolean }>([
        'check',
        `oci:${join(fleet.folder, 'source')}:${ref}`,
        image,
      ]);
      expect(check.ok).toBe(true);
    }
    expect(await readdir(join(fleet.folder, 'tmp'))).toEqual([]);
  });

  test('a job that can not work is a dead letter with its reason; the others are done', async () => {
    startWorker('dead');
    const destination = `docker://${fleet.registry.host}/dead/app`;
    const jobs = [
      { source: `oci:${join(fleet.folder, 'source')}:missing`, destination: `${destination}:1` },
      { source: `oci:${join(fleet.folder, 'source')}:app-0`, destination: `${destination}:2` },
    ];
    const file = await fleet.writeList('dead', jobs);
    const run = await runJson<Batch>(['batch', file, '--queue', queueOf('dead')]);
    expect(run.exitCode).toBe(1);
    const [first, second] = run.document.jobs;
    expect(first).toMatchObject({ status: 'failed', error: { code: 'NOT_FOUND' } });
    expect(second).toMatchObject({ status: 'done' });
  });

  test('SIGTERM: what is under way is done or handed back, and a later worker does the rest', async () => {
    const list = await writeList('drain', { check: true });
    const first = startWorker('drain', '--grace', '0', '--jobs', '4');
    await first.ready;
    const batch = documentOf<Batch>(['batch', list, '--queue', queueOf('drain')]);
    await vi.waitUntil(() => first.lines.some(({ state }) => state === 'converted'), { timeout: 60_000 });
    expect(await first.end('SIGTERM')).toBe(143);
    startWorker('drain');
    const { jobs } = await batch;
    expect(jobs.every(({ status }) => status === 'done')).toBe(true);
  });

  test('Redis is killed: the batch and the workers say so, wait, and go on with what the disk has', async () => {
    const held = await HeldImage.start(); // until it is released, neither the batch nor the worker is through
    onTestFinished(() => held.stop());
    const last = { source: held.reference, destination: `docker://${fleet.registry.host}/away/held:erofs` };
    const list = await fleet.writeList('away', [...jobsOf('away'), last]);
    const worker = startWorker('away', '--jobs', '2');
    const batch = runJson<Batch>(['batch', list, '--queue', queueOf('away')]);
    await vi.waitUntil(() => worker.lines.some(({ state }) => state === 'done'), { timeout: 60_000 });
    await fleet.redis.kill();
    await vi.waitUntil(() => worker.warnings.some((line) => line.includes('is away')), { timeout: 10_000 });
    await fleet.redis.start();
    held.release();
    const run = await batch;
    expect(run.stderr).toContain('is away');
    expect(run.stderr).toContain('is back');
    expect(run.document.jobs.every(({ status }) => status === 'done')).toBe(true);
  });

  test('what is wrong with a queue is one clear line', async () => {
    const list = await writeList('wrong');
    const guarded = await RedisServer.start(join(fleet.folder, 'guarded'), '--requirepass', 'secret');
    try {
      const lines: string[] = [];
      for (const url of [guarded.url, `redis://:wrong@127.0.0.1:${guarded.port}`, 'redis://127.0.0.1:1']) {
        const { exitCode, stderr } = await runCli(['batch', list, '--queue', url]);
        expect(exitCode).toBe(1);
        lines.push(stderr);
      }
      expect(lines[0]).toMatch(
        /^error: redis:\/\/127.0.0.1:\d+\/0: it does not take this user and password \(.*\)\n$/,
      );
      expect(lines[1]).toBe(lines[0]);
      expect(lines[2]).toMatch(/^error: redis:\/\/127.0.0.1:1\/0: .*ECONNREFUSED.*\n$/);
      const right = await runCli(['batch', list, '--queue', 'http://127.0.0.1:1']);
      expect(right).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('no address of Redis') as string,
      });
    } finally {
      await guarded.kill();
    }
  });
});
