import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { DockerRegistry } from '../support/docker-registry';
import { useFleet } from '../support/fleet';
import { freePort } from '../support/free-port';
import { writeManyImages } from '../support/many-images';
import { hasProgram, titleOf, whyWithout } from './support/machine';

// The claim: images convert themselves, whether a registry tells of them or not. A storm of events: test/soak/hooks.test.ts.

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const reason = whyWithout('redis-server', 'docker-registry');
const fleet = useFleet(reason);
const { secret } = fleet;
const queueOf = (name: string): string => fleet.queueOf(name);

describe(titleOf('hooks', reason), { skip: reason !== null }, () => {
  test('while Redis is away, a registry is told to send its events again', async () => {
    const source = 'docker://r.example/{repo}:{tag}';
    const rule = { source, destination: 'docker://r.example/erofs/{repo}:{tag}', 'not-repos': 'erofs/**' };
    const flags = ['--policy', await fleet.writePolicy('away', [rule]), '--queue', queueOf('away')];
    const { url } = await fleet.serve('hooks', '--listen', '127.0.0.1:0', ...flags);
    const tell = async (tag: string): Promise<number> => {
      const body = JSON.stringify({ image: `docker://r.example/app:${tag}` });
      const response = await fetch(url, { method: 'POST', body, headers: { authorization: secret } });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await tell('v1')).toBe(202);
    expect((await fetch(`${url}readyz`)).status).toBe(200);
    await fleet.redis.kill();
    await vi.waitUntil(async () => (await fetch(`${url}readyz`)).status === 503, { timeout: 10_000 });
    expect(await tell('v2')).toBe(503);
    await fleet.redis.start();
    await vi.waitUntil(async () => (await tell('v2')) === 202, { timeout: 20_000 });
  });

  test('an image that is pushed to docker-registry is converted, and what that pushes is not', async () => {
    const ports = [await freePort(), await freePort()] as const;
    const notify = { url: `http://127.0.0.1:${ports[1]}/`, authorization: `Bearer ${secret}` };
    const registry = await DockerRegistry.start(join(fleet.folder, 'registry'), { port: ports[0], notify });
    const policy = await fleet.writePolicy('push', [
      {
        source: `docker://${registry.host}/{repo}:{tag}`,
        destination: `docker://${registry.host}/{repo}:{tag}`,
        'append-to-index': true,
      },
    ]);
    const queue = queueOf('push');
    await fleet.serve('hooks', '--listen', `127.0.0.1:${ports[1]}`, '--policy', policy, '--queue', queue);
    const worker = fleet.startWorker(queue);
    try {
      await writeManyImages(join(fleet.folder, 'pushed'), 1, 1);
      const image = `docker://${registry.host}/team/app:v1`;
      const push = spawnSync('skopeo', [
        'copy',
        '--dest-tls-verify=false',
        `oci:${join(fleet.folder, 'pushed')}:app-0`,
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

  test('--poll: what nobody tells of is found, and converted once', async () => {
    const registry = await DockerRegistry.start(join(fleet.folder, 'silent'));
    const { host } = registry;
    const policy = await fleet.writePolicy('poll', [
      {
        source: `docker://${host}/{repo}:{tag}`,
        destination: `docker://${host}/erofs/{repo}:{tag}`,
        'not-repos': 'erofs/**',
      },
    ]);
    const queue = queueOf('poll');
    const flags = ['--policy', policy, '--queue', queue, '--poll', '1'];
    const { url } = await fleet.serve('hooks', '--listen', '127.0.0.1:0', ...flags);
    const worker = fleet.startWorker(queue);
    /** How many images were found, by what became of them. */
    const found = async (outcome: string): Promise<number> => {
      const text = await (await fetch(`${url}metrics`)).text();
      const [, count = '0'] =
        new RegExp(`hook_events_total\\{outcome="${outcome}"\\} (\\d+)`).exec(text) ?? [];
      return Number(count);
    };
    const done = (): number => worker.lines.filter(({ state }) => state === 'done').length;
    /** Two more looks at what is there, after all that was found is converted. */
    const settle = async (images: number): Promise<void> => {
      await vi.waitUntil(() => done() >= images, { timeout: 60_000 });
      const known = await found('duplicate');
      await vi.waitUntil(async () => (await found('duplicate')) >= known + 2 * images, { timeout: 60_000 });
    };
    const push = async (image: string, tag: string): Promise<void> => {
      const to = `docker://${host}/team/app:${tag}`;
      const from = `oci:${join(fleet.folder, 'polled')}:${image}`;
      expect(spawnSync('skopeo', ['copy', '--dest-tls-verify=false', from, to]).status).toBe(0);
    };
    try {
      await writeManyImages(join(fleet.folder, 'polled'), 2, 1);
      for (const [images, tag] of [
        ['app-0', 'v1'],
        ['app-1', 'v2'],
      ].entries()) {
        await push(tag[0]!, tag[1]!);
        await settle(images + 1);
        expect([done(), await found('accepted')]).toEqual([images + 1, images + 1]);
        const made = `docker://${host}/erofs/team/app:${tag[1]!}`;
        expect((await runCli(['verify', made])).exitCode).toBe(0);
      }
      await push('app-1', 'v1'); // a tag that moves
      await settle(3);
      expect([done(), await found('accepted')]).toEqual([3, 3]);
    } finally {
      await worker.end('SIGTERM');
      await registry.stop();
    }
  });

  test('a policy that would convert its own output is refused at the start', async () => {
    const policy = await fleet.writePolicy('loop', [
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
  const dashboard = (...flags: string[]) =>
    fleet.serve('queue', 'dashboard', '--listen', '127.0.0.1:0', '--queue', queueOf('steer'), ...flags);
  const list = (...args: string[]) =>
    documentOf<{ id: string; state: string; attempts: number; error: string | null }[]>([
      'queue',
      'ls',
      ...args,
      '--queue',
      queueOf('steer'),
    ]);

  test('shows jobs, and pauses, resumes, retries, removes and drains them', async () => {
    const worker = fleet.startWorker(queueOf('steer'), ['--retry-time', '0']);
    await worker.ready;
    expect((await queue('pause')).exitCode).toBe(0);
    const jobs = [1, 2, 3].map((i) => ({
      source: `oci:${fleet.folder}/none-${i}`,
      destination: `oci:${fleet.folder}/to-${i}`,
    }));
    const file = await fleet.writeList('steer', jobs);
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
    const { url } = await dashboard();
    const page = await fetch(url);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Bull Dashboard');
    const seen = await fetch(`${url}api/queues?activeQueue=images&status=waiting&page=1&jobsPerPage=10`);
    expect(JSON.stringify(await seen.json())).toContain('none-');
    expect((await fetch(`${url}api/queues/images/pause`, { method: 'PUT' })).status).toBe(405);
    expect((await fetch(`${url}metrics`)).status).toBe(200);
    const own = await dashboard('--write');
    expect((await queue('resume')).exitCode).toBe(0);
    const isPaused = async (): Promise<boolean> => {
      const shown = await (await fetch(`${own.url}api/queues`)).json();
      return (shown as { queues: { name: string; isPaused: boolean }[] }).queues.find(
        ({ name }) => name === 'images',
      )!.isPaused;
    };
    expect(await isPaused()).toBe(false);
    expect((await fetch(`${own.url}api/queues/images/pause`, { method: 'PUT' })).status).toBe(200);
    expect(await isPaused()).toBe(true);
  });

  const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(hasProgram);
  const noBrowser = browser === undefined ? 'needs chromium' : null;
  test(titleOf('is a page that a browser shows', noBrowser), { skip: noBrowser !== null }, async () => {
    const { url } = await dashboard();
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      `--user-data-dir=${join(fleet.folder, 'browser')}`,
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
