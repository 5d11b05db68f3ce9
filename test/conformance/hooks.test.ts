import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { DockerRegistry } from '../support/docker-registry';
import { freePort } from '../support/free-port';
import { writeManyImages } from '../support/many-images';
import { RedisServer } from '../support/redis-server';
import { rounds } from '../support/rounds';
import { WorkerProcess } from '../support/worker-process';
import { hasProgram, titleOf, whyWithout } from './support/machine';

// The claim: images convert themselves; what a hook server accepted is not lost, what is forged is refused, and memory stays flat.

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const reason = whyWithout('redis-server', 'docker-registry');
const secret = 'a secret of hooks, for a test';
const program = join(__dirname, '../../dist/cli/main.js');

let folder = '';
let redis: RedisServer;
let children: ChildProcess[] = [];
beforeAll(async () => {
  if (reason !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'hooks-'));
  redis = await RedisServer.start(join(folder, 'redis'));
  await writeFile(join(folder, 'secret'), `${secret}\n`);
});
afterEach(async () => {
  for (const child of children) await stop(child);
  children = [];
});
afterAll(async () => {
  if (reason !== null) return;
  await redis.kill();
  await rm(folder, { recursive: true });
});

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

/** A command that serves something: its URL, when it says so. */
async function serve(...args: string[]): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let said = '';
  for await (const line of createInterface({ input: child.stderr })) {
    said += line;
    const url = /(http:\/\/\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    child.stderr.resume();
    return { url, child };
  }
  throw new Error(`it ended: ${said}`);
}

async function writePolicy(name: string, rules: object[]): Promise<string> {
  const file = join(folder, `${name}.yaml`);
  await writeFile(file, JSON.stringify({ 'secret-file': join(folder, 'secret'), rules }));
  return file;
}

const queueOf = (name: string): string => `${redis.url}?prefix=${name}`;
const memoryOf = ({ pid }: ChildProcess): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid!}/status`, 'utf8'))![1]) / 1024;

async function post(url: string, body: string, headers: Record<string, string>): Promise<number> {
  try {
    const response = await fetch(url, { method: 'POST', body, headers });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0; // cut off while it was sent
  }
}

describe(titleOf('hooks', reason), { skip: reason !== null }, () => {
  test('a storm, half of it told twice, some forged, some huge', async () => {
    const source = 'docker://r.example/{repo}:{tag}';
    const rule = { source, destination: 'docker://r.example/erofs/{repo}:{tag}', 'not-repos': 'erofs/**' };
    const policy = await writePolicy('storm', [rule]);
    const { url, child } = await serve(
      'hooks',
      '--listen',
      '127.0.0.1:0',
      '--policy',
      policy,
      '--queue',
      queueOf('storm'),
    );
    const all = rounds(5000);
    const digestOf = (i: number): string => `sha256:${String(i).padStart(64, '0')}`;
    const body = (i: number): string =>
      JSON.stringify({ image: `docker://r.example/app-${i % 50}:v${i}`, digest: digestOf(i) });
    const kinds = Array.from({ length: all }, (_, i) =>
      i % 20 === 7 ? 'forged' : i % 100 === 3 ? 'huge' : 'right',
    );
    const statuses: Record<string, Record<number, number>> = { right: {}, forged: {}, huge: {} };
    const accepted = new Set<number>();
    let next = 0;
    const sender = async (): Promise<void> => {
      for (let at = next++; at < all; at = next++) {
        const kind = kinds[at]!;
        const i = at >> 1;
        const text = kind === 'huge' ? JSON.stringify({ image: 'x'.repeat(3 << 20) }) : body(i);
        const signature = `sha256=${createHmac('sha256', secret).update(text).digest('hex')}`;
        const headers: Record<string, string> =
          kind === 'forged'
            ? { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` }
            : at % 3 === 0
              ? { authorization: `Bearer ${secret}` }
              : { 'x-hub-signature-256': signature };
        let status = await post(url, text, headers);
        while (status === 503) status = await post(url, text, headers);
        statuses[kind]![status] = (statuses[kind]![status] ?? 0) + 1;
        if (kind === 'right' && status === 202) accepted.add(i);
      }
    };
    await post(url, body(999_999), { authorization: secret });
    const before = memoryOf(child);
    await Promise.all(Array.from({ length: 40 }, sender));
    expect(Object.keys(statuses['right']!)).toEqual(['202']);
    expect(Object.keys(statuses['forged']!)).toEqual(['401']);
    expect(Object.keys(statuses['huge']!).filter((status) => !['413', '0'].includes(status))).toEqual([]);
    const listed = await documentOf<{ source: string; state: string }[]>([
      'queue',
      'ls',
      '--queue',
      queueOf('storm'),
    ]);
    const names = listed.map(({ source: name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const lost = [...accepted].filter((i) => !names.includes(`docker://r.example/app-${i % 50}:v${i}`));
    expect(lost).toEqual([]);
    expect(names).toHaveLength(accepted.size + 1);
    expect(memoryOf(child) - before).toBeLessThan(100);
    const metrics = await (await fetch(`${url}metrics`)).text();
    expect(metrics).toContain('seekable_erofs_hook_events_total{outcome="401"}');
    expect((await fetch(`${url}readyz`)).status).toBe(200);
    await redis.kill();
    await vi.waitUntil(async () => (await fetch(`${url}readyz`)).status === 503, { timeout: 10_000 });
    expect(await post(url, body(77), { authorization: secret })).toBe(503);
    await redis.start();
    await vi.waitUntil(async () => (await post(url, body(1_000_000), { authorization: secret })) === 202, {
      timeout: 20_000,
    });
  });

  test('an image that is pushed to docker-registry is converted, and what that pushes is not', async () => {
    const ports = [await freePort(), await freePort()] as const;
    const notify = { url: `http://127.0.0.1:${ports[1]}/`, authorization: `Bearer ${secret}` };
    const registry = await DockerRegistry.start(join(folder, 'registry'), { port: ports[0], notify });
    const policy = await writePolicy('push', [
      {
        source: `docker://${registry.host}/{repo}:{tag}`,
        destination: `docker://${registry.host}/{repo}:{tag}`,
        'append-to-index': true,
      },
    ]);
    const queue = queueOf('push');
    await serve('hooks', '--listen', `127.0.0.1:${ports[1]}`, '--policy', policy, '--queue', queue);
    const worker = WorkerProcess.start(queue, ['--threads', '1', '--lease', '3']);
    children.push(worker.child);
    try {
      await writeManyImages(join(folder, 'pushed'), 1, 1);
      const image = `docker://${registry.host}/team/app:v1`;
      const push = spawnSync('skopeo', [
        'copy',
        '--dest-tls-verify=false',
        `oci:${join(folder, 'pushed')}:app-0`,
        image,
      ]);
      expect(push.status).toBe(0);
      const done = (): number => worker.lines.filter(({ state }) => state === 'done').length;
      await vi.waitUntil(() => done() > 0, { timeout: 60_000 });
      // What a second round would do is looked for while the registry's events of the first come in.
      await vi.waitUntil(
        async () => {
          const text = await (await fetch(`${notify.url}metrics`)).text();
          return /hook_events_total\{outcome="own"\} [1-9]/.test(text);
        },
        { timeout: 60_000 },
      );
      expect(done()).toBe(1);
      const jobs = await documentOf<unknown[]>(['queue', 'ls', '--queue', queue]);
      expect(jobs).toHaveLength(1);
      expect((await runCli(['verify', image])).exitCode).toBe(0);
    } finally {
      await worker.end('SIGTERM');
      await registry.stop();
    }
  });

  test('a policy that would convert its own output is refused at the start', async () => {
    const policy = await writePolicy('loop', [
      { source: 'docker://r.example/{repo}:{tag}', destination: 'docker://r.example/{repo}:{tag}-erofs' },
    ]);
    const run = await runCli([
      'hooks',
      '--listen',
      '127.0.0.1:0',
      '--policy',
      policy,
      '--queue',
      queueOf('loop'),
    ]);
    expect(run).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('converted again') as string });
  });
});

describe(titleOf('queue', reason), { skip: reason !== null }, () => {
  const queue = (...args: string[]) => runCli(['queue', ...args, '--queue', queueOf('steer')]);
  const list = (...args: string[]) =>
    documentOf<{ id: string; state: string; attempts: number; error: string | null }[]>([
      'queue',
      'ls',
      ...args,
      '--queue',
      queueOf('steer'),
    ]);

  test('shows jobs, and pauses, resumes, retries, removes and drains them', async () => {
    const worker = WorkerProcess.start(queueOf('steer'), [
      '--threads',
      '1',
      '--lease',
      '3',
      '--retry-time',
      '0',
    ]);
    children.push(worker.child);
    await worker.ready;
    expect((await queue('pause')).exitCode).toBe(0);
    const file = join(folder, 'steer.json');
    const jobs = [1, 2, 3].map((i) => ({
      source: `oci:${folder}/none-${i}`,
      destination: `oci:${folder}/to-${i}`,
    }));
    await writeFile(file, JSON.stringify(jobs));
    const batch = runCli(['batch', file, '--queue', queueOf('steer'), '--json']);
    await vi.waitUntil(async () => (await list()).length === 3, { timeout: 30_000, interval: 500 });
    expect((await list()).map(({ state }) => state)).toEqual(['waiting', 'waiting', 'waiting']);
    expect((await queue('resume')).exitCode).toBe(0);
    expect((await batch).exitCode).toBe(1);
    const failed = await list('--state', 'failed');
    expect(failed).toHaveLength(3);
    expect(failed[0]!.error).toMatch(/^NOT_FOUND: /);
    const { id } = failed[0]!;
    const shown = await documentOf<{ options: object; ended: string }>([
      'queue',
      'show',
      id,
      '--queue',
      queueOf('steer'),
    ]);
    expect(shown.ended).toMatch(/^20/);
    await queue('pause');
    expect((await queue('retry', id)).exitCode).toBe(0);
    expect((await list('--state', 'waiting')).map((job) => job.id)).toEqual([id]);
    expect((await queue('drain')).exitCode).toBe(0);
    expect((await queue('rm', failed[1]!.id)).exitCode).toBe(0);
    expect(await list()).toHaveLength(1);
    expect((await queue('rm', 'nothing')).exitCode).toBe(1);
    expect((await queue('retry', failed[2]!.id)).exitCode).toBe(0);
    expect((await queue('retry', failed[2]!.id)).exitCode).toBe(2);
    const { url } = await serve('queue', 'dashboard', '--listen', '127.0.0.1:0', '--queue', queueOf('steer'));
    const page = await fetch(url);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Bull Dashboard');
    const seen = await fetch(`${url}api/queues?activeQueue=images&status=waiting&page=1&jobsPerPage=10`);
    expect(JSON.stringify(await seen.json())).toContain('none-');
    expect((await fetch(`${url}api/queues/images/pause`, { method: 'PUT' })).status).toBe(405);
    expect((await fetch(`${url}metrics`)).status).toBe(200);
  });

  const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(hasProgram);
  const noBrowser = browser === undefined ? 'needs chromium' : null;
  test(titleOf('is a page that a browser shows', noBrowser), { skip: noBrowser !== null }, async () => {
    const { url } = await serve('queue', 'dashboard', '--listen', '127.0.0.1:0', '--queue', queueOf('steer'));
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      `--user-data-dir=${join(folder, 'browser')}`,
    ];
    const args = [...flags, '--virtual-time-budget=15000', '--dump-dom', `${url}queue/images`];
    const child = spawn(browser!, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let page = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (page += text));
    await once(child, 'close');
    expect(page).toContain('images');
    expect(page).toMatch(/waiting/i);
  });
});
