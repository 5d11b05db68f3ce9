import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { realClock } from '../../src/service/clock';
import { FleetTraffic } from '../../src/service/fleet-traffic';
import { RedisLeases } from '../../src/service/redis-leases';
import { documentOf, runCli } from '../e2e/run-cli';
import { Authority } from '../support/certificates';
import { DockerRegistry } from '../support/docker-registry';
import { FakeRegistry } from '../support/fake-registry';
import { useFleet } from '../support/fleet';
import { freePort } from '../support/free-port';
import { writeManyImages } from '../support/many-images';
import { RedisServer } from '../support/redis-server';
import type { WorkerProcess } from '../support/worker-process';
import { titleOf, whyWithout } from './support/machine';

// The claim: what a fleet shares, it shares: limits of registries, the order of jobs, converted layers, the right to write a destination.

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const reason = whyWithout('redis-server', 'docker-registry');

const fleet = useFleet(reason, { registry: true });
let client: Redis;
beforeAll(async () => {
  if (reason !== null) return;
  await writeManyImages(join(fleet.folder, 'source'), 4, 1);
  client = new Redis(fleet.redis.port, '127.0.0.1');
  client.on('error', () => undefined);
});
afterAll(() => {
  if (reason === null) client.disconnect();
});

const queueOf = (name: string): string => fleet.queueOf(name);
const source = (i: number): string => `oci:${join(fleet.folder, 'source')}:app-${i}`;

interface Batch {
  jobs: { status: string; digest: string }[];
}
const batch = (file: string, queue: string, ...flags: string[]) =>
  documentOf<Batch>(['batch', file, '--queue', queue, ...flags]);
const layersOf = (worker: WorkerProcess, how: 'converted' | 'taken'): number =>
  worker.lines.filter(({ state }) => state === how).length;

interface Listed {
  state: string;
  source: string;
}
const list = (name: string) => documentOf<Listed[]>(['queue', 'ls', '--queue', queueOf(name)]);

describe(titleOf('a fleet', reason), { skip: reason !== null }, () => {
  test('asks a registry as often as its limit allows, all workers together', async () => {
    const fake = await FakeRegistry.start();
    try {
      // One request in a thousand seconds: the time that this test takes is nothing beside it, and pauses are only written down.
      const pauses: number[] = [];
      const clock = {
        ...realClock,
        sleep: (time: number, signal?: AbortSignal) =>
          time > 10_000 ? Promise.resolve(void pauses.push(time)) : realClock.sleep(time, signal),
      };
      const limits = new Map([[fake.host, { requests: 0.001 }]]);
      const worker = () => new FleetTraffic(new RedisLeases(client, 'limits'), clock, limits);
      const convert = (i: number) =>
        convertImage(source(i), `docker://${fake.host}/app-${i}:x`, { traffic: worker() });
      await Promise.all([convert(0), convert(1)]);
      expect(fake.calls.length).toBeGreaterThan(10);
      // Each request has a turn of its own, whichever worker it is of; the first need not wait.
      const turns = pauses.map((pause) => Math.round(pause / 1e6)).sort((a, b) => a - b);
      expect(turns).toEqual(Array.from({ length: fake.calls.length - 1 }, (_, i) => i + 1));
    } finally {
      await fake.stop();
    }
  });

  test('takes a job of a sooner priority first', async () => {
    const to = (name: string) => `docker://${fleet.registry.host}/sooner/${name}:x`;
    const late = await fleet.writeList('late', [{ source: source(0), destination: to('late') }]);
    const soon = await fleet.writeList('soon', [{ source: source(1), destination: to('soon') }]);
    const queue = queueOf('sooner');
    const first = batch(late, queue, '--priority', '9');
    await vi.waitUntil(async () => (await list('sooner')).length === 1, { timeout: 60_000 });
    const second = batch(soon, queue, '--priority', '2');
    await vi.waitUntil(async () => (await list('sooner')).length === 2, { timeout: 60_000 });
    const worker = fleet.startWorker(queue, ['--jobs', '1']);
    await Promise.all([first, second]);
    const started = worker.lines.filter(({ state }) => state === 'started').map(({ item }) => item);
    expect(started[0]).toBe(source(1));
  });

  test('a layer that went to one registry is copied from there to another', async () => {
    const other = await DockerRegistry.start(join(fleet.folder, 'other'));
    try {
      const queue = queueOf('copies');
      const worker = fleet.startWorker(queue);
      const [here, there] = [`docker://${fleet.registry.host}/copies:x`, `docker://${other.host}/copies:x`];
      await batch(await fleet.writeList('here', [{ source: source(2), destination: here }]), queue);
      expect([layersOf(worker, 'converted'), layersOf(worker, 'taken')]).toEqual([2, expect.any(Number)]);
      const before = layersOf(worker, 'taken');
      await batch(await fleet.writeList('there', [{ source: source(2), destination: there }]), queue);
      expect([layersOf(worker, 'converted'), layersOf(worker, 'taken') - before]).toEqual([2, 2]);
      expect((await runCli(['verify', there])).exitCode).toBe(0);
    } finally {
      await other.stop();
    }
  });

  test('a layer for a layout is taken from the cache that workers share', async () => {
    const queue = queueOf('cache');
    const cache = join(fleet.folder, 'cache');
    await mkdir(cache);
    const perform = async (name: string): Promise<WorkerProcess> => {
      const worker = fleet.startWorker(queue, ['--cache', cache]);
      await batch(
        await fleet.writeList(name, [
          { source: source(3), destination: `oci:${join(fleet.folder, name)}:x` },
        ]),
        queue,
      );
      await worker.end('SIGTERM');
      return worker;
    };
    expect(layersOf(await perform('layout-1'), 'converted')).toBe(2);
    expect(layersOf(await perform('layout-2'), 'converted')).toBe(0);
    expect((await runCli(['verify', `oci:${join(fleet.folder, 'layout-2')}:x`])).exitCode).toBe(0);
  });

  test('a destination that a dead worker had is written when its lease is over, and not before', async () => {
    const destination = `docker://${fleet.registry.host}/held:x`;
    const name = JSON.stringify({
      transport: 'docker',
      host: fleet.registry.host,
      repository: 'held',
      tag: 'x',
    });
    await client.set(`held:lease:to ${name}`, 'a worker that was killed');
    const worker = fleet.startWorker(queueOf('held'));
    const running = batch(
      await fleet.writeList('held', [{ source: source(0), destination }]),
      queueOf('held'),
    );
    await vi.waitUntil(async () => (await list('held')).some(({ state }) => state === 'delayed'), {
      timeout: 60_000,
    });
    expect(worker.lines.some(({ state }) => state === 'done')).toBe(false);
    await client.del(`held:lease:to ${name}`);
    expect((await running).jobs[0]!.status).toBe('done');
  });

  test('a worker shows what it does, and whether it is ready', async () => {
    const own = await RedisServer.start(join(fleet.folder, 'own'));
    const port = await freePort();
    const worker = fleet.startWorker(own.url, ['--metrics', `127.0.0.1:${port}`]);
    const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
    try {
      await worker.ready;
      expect([(await ask('/healthz')).status, (await ask('/readyz')).status]).toEqual([200, 200]);
      const destination = `docker://${fleet.registry.host}/metrics:x`;
      await batch(await fleet.writeList('metrics', [{ source: source(0), destination }]), own.url);
      const text = await (await ask('/metrics')).text();
      const value = (name: string): number =>
        Number(
          text
            .split('\n')
            .find((line) => line.startsWith(`seekable_erofs_${name} `))
            ?.split(' ')
            .at(-1),
        );
      expect(value('images_total{state="done"}')).toBe(1);
      expect(value('layers_total{how="converted"}')).toBe(2);
      expect(value('layer_bytes_total{direction="in"}')).toBeGreaterThan(40_000);
      expect(value(`registry_requests_total{registry="${fleet.registry.host}"}`)).toBeGreaterThan(5);
      expect(value('queue_images{state="completed"}')).toBe(1);
      await own.kill();
      await vi.waitUntil(async () => (await ask('/readyz')).status === 503, { timeout: 20_000 });
      expect((await ask('/healthz')).status).toBe(200);
    } finally {
      await worker.end('SIGKILL');
      await own.kill();
    }
  });

  const noOpenssl = whyWithout('openssl');
  test(titleOf('speaks TLS to Redis, with a password', noOpenssl), { skip: noOpenssl !== null }, async () => {
    const authority = new Authority(fleet.folder);
    const { certFile, keyFile } = authority.issue('redis');
    const port = await freePort();
    const flags = ['--tls-port', String(port), '--tls-cert-file', certFile, '--tls-key-file', keyFile];
    const guarded = await RedisServer.start(
      join(fleet.folder, 'tls'),
      ...[...flags, '--tls-auth-clients', 'no', '--requirepass', 'secret'],
    );
    const url = `rediss://127.0.0.1:${port}`;
    const env = { NODE_EXTRA_CA_CERTS: authority.own.certFile, REDIS_PASSWORD: 'secret' };
    const ls = (more: NodeJS.ProcessEnv) =>
      spawnSync(
        process.execPath,
        [join(__dirname, '../../dist/cli/main.js'), 'queue', 'ls', '--queue', url],
        {
          env: { ...process.env, ...more },
          encoding: 'utf8',
        },
      );
    try {
      await fleet.startWorker(url, [], env).ready;
      expect(ls(env).status).toBe(0);
      const stranger = ls({ ...env, NODE_EXTRA_CA_CERTS: '' });
      expect([stranger.status, stranger.stderr]).toEqual([
        1,
        expect.stringMatching(/^error: .*certificate.*\n$/),
      ]);
      expect(ls({ ...env, REDIS_PASSWORD: 'wrong' }).stderr).toContain(
        'does not take this user and password',
      );
    } finally {
      await guarded.kill();
    }
  });
});
