import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { DockerRegistry } from '../support/docker-registry';
import { FaultyProxy, type Fault } from '../support/faulty-proxy';
import { TokenServer } from '../support/token-server';
import {
  compareByFour,
  digests,
  dropCaches,
  files,
  harm,
  killAll,
  lazyOf,
  local,
  mount,
  processesOf,
  proxy,
  read,
  readAll,
  reference,
  seekable,
  target,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from './support/lazy-image';
import { titleOf } from './support/machine';
import { root, state, support, useMounts } from './support/mounting';

// The claim: whatever is refused, replaced, full, killed or set back, a reader of a lazy mount gets right bytes, or an error in time.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();
const ioError = 'Input/output error';

/** The store of the layer with the noise: the largest. */
function storeOfNoise(): string {
  const stores = join(state, 'content/lazy');
  const data = readdirSync(stores)
    .map((name) => join(stores, name, 'data'))
    .filter(existsSync);
  return dirname(data.toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!);
}

/** Starts `serve`; what it said and its exit code, once it has ended. */
function serve(...flags: string[]) {
  const args = [join(root, 'dist/cli/main.js'), 'serve', '--background', 'off', '--state', state, ...flags];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'exit').then(([code]) => ({ code: code as number | null, said }));
  const serving = (): boolean => said.includes('serving on');
  return { child, ended, serving };
}

describe.skipIf(reason !== null)(titleOf('faults of lazy mounts', reason), () => {
  useLazyImage();

  describe('of the registry', () => {
    const lasting: Fault[] = ['status 401', 'status 404', 'status 416', 'silent'];
    test.each(lasting)('for good, an error after --io-timeout, and right bytes later: %s', async (fault) => {
      await mount('--io-timeout', '2');
      harm(fault);
      await expect(read(files[20]!)).rejects.toThrow(ioError);
      harm();
      expect(await read(files[20]!)).toBe(digests[20]);
      await umount();
    });

    test('tokens that end are renewed while files are read; one that is not renewed is an error in time', async () => {
      const tokens = await TokenServer.start('test');
      try {
        const challenge = `Bearer realm="${tokens.realm}",service="test",scope="repository:image:pull"`;
        tokens.lifetime = 1;
        proxy.deny = ({ headers: { authorization = '' } }) =>
          authorization !== '' && tokens.allows(authorization.slice(7), 'image', 'pull') ? null : challenge;
        // The last file in the image: opening it reads ahead, and not that far.
        await mount('--io-timeout', '2');
        await sleep(1100);
        const before = tokens.requests.length;
        expect(await read(files[9]!)).toBe(digests[9]);
        expect(tokens.requests.length).toBeGreaterThan(before);
        await umount();
        rmSync(join(state, 'content/lazy'), { recursive: true });
        dropCaches();
        await mount('--io-timeout', '2');
        await sleep(1100);
        tokens.misbehave = (_request, response) => {
          response.writeHead(401).end('{}');
          return true;
        };
        await expect(read(files[9]!)).rejects.toThrow(ioError);
        tokens.misbehave = () => false;
        expect(await read(files[9]!)).toBe(digests[9]);
        await umount();
      } finally {
        await tokens.stop();
      }
    });

    test('a tag that changes from answer to answer: the bytes decide', async () => {
      await mount();
      harm('changed tag');
      expect(await readAll()).toEqual(digests);
      await umount();
    });
  });

  describe('of one registry, with a mirror', () => {
    let mirror: { registry: DockerRegistry; proxy: FaultyProxy; home: string };
    const startMirror = async (): Promise<void> => {
      const home = await mkdtemp('/tmp/lazy-mirror-');
      const registry = await DockerRegistry.start(home);
      mirror = { registry, proxy: await FaultyProxy.start(registry.host, Math.random), home };
      await documentOf(['convert', local, `docker://${mirror.proxy.host}/image:latest`]);
    };
    afterEach(async () => {
      await mirror.proxy.stop();
      await mirror.registry.stop();
      await rm(mirror.home, { recursive: true });
    });

    test.each<Fault>(['wrong bytes', 'no connection', 'status 401'])(
      'nobody notices but the log: %s',
      async (fault) => {
        await startMirror();
        await mount('--mirror', mirror.proxy.host, '--io-timeout', '20');
        harm(fault);
        expect(await readAll()).toEqual(digests);
        expect((await lazyOf()).source).toContain(mirror.proxy.host);
        // The mirror dies, the registry is back.
        harm();
        dropCaches();
        await mirror.registry.stop();
        expect(await readAll()).toEqual(digests);
        await umount();
      },
    );

    test('wrong bytes of both are an error', async () => {
      await startMirror();
      await mount('--mirror', mirror.proxy.host);
      harm('wrong bytes');
      mirror.proxy.choice = ['wrong bytes'];
      mirror.proxy.rate = 1;
      const results = await Promise.allSettled(files.map((name) => read(name)));
      expect(results.some(({ status }) => status === 'rejected')).toBe(true);
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') expect(result.value).toBe(digests[i]);
        else expect(String(result.reason)).toContain(ioError);
      }
      await umount();
    });
  });

  describe('of the machine', () => {
    test('a disk that is full: everything is served, what has no room is not stored', async () => {
      execFileSync('mkdir', ['-p', state]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'small', state]);
      await mount('--io-timeout', '20');
      const servers = processesOf('server-main');
      expect(await readAll()).toEqual(digests);
      dropCaches();
      await compareByFour();
      await sleep(1500); // stores are synced each second
      const { present, chunks } = await lazyOf();
      expect(present).toBeLessThan(chunks);
      expect(processesOf('server-main')).toEqual(servers); // nor did any of it end the server
      await umount();
    });

    test.each([
      ['data and bits', ['data', 'present'], 0],
      ['bits alone', ['present'], 0],
      ['data alone, since the last sync', ['data'], 1500],
    ] as const)('a store that is set back: %s', async (_what, names, untilSynced) => {
      await mount();
      for (const name of files.slice(0, 8)) await read(name);
      await sleep(untilSynced);
      const store = storeOfNoise();
      for (const name of names) cpSync(join(store, name), at(name));
      if (untilSynced === 0) for (const name of files.slice(8)) await read(name);
      killAll();
      await umount();
      for (const name of names) cpSync(at(name), join(store, name));
      dropCaches();
      await mount();
      await compareByFour();
      await umount();
    });

    test('random reads of eight readers, the background on and the caches dropped, are as in an eager mount', async () => {
      const eager = at('eager');
      const eagerState = ['--state', at('eager-state')];
      await documentOf(['mount', local, eager, '--verity', 'off', ...eagerState]);
      await mount('--background', 'auto');
      const script = join(support, 'random_reads.py');
      const readers = Array.from({ length: 8 }, (_, seed) =>
        exec('python3', [script, `${seed}`, '150', target, eager, ...files]),
      );
      let isOver = false;
      const all = Promise.all(readers).finally(() => (isOver = true));
      const isRunning = (): boolean => !isOver;
      while (isRunning()) {
        dropCaches();
        await sleep(100);
      }
      await all;
      await umount();
      await documentOf(['umount', eager, ...eagerState]);
    });
  });

  describe('of the server', () => {
    test('two that start at once: one serves, the other says so', async () => {
      const servers = [serve(), serve()];
      const [loser] = await Promise.race(
        servers.map(async (server) => [await server.ended, server] as const),
      );
      expect(loser).toMatchObject({ code: 1, said: expect.stringContaining('runs there already') as string });
      const winner = servers.find(({ child }) => child.exitCode === null)!;
      while (!winner.serving()) await sleep(20);
      await mount();
      await compareByFour();
      expect((await seekable('umount', target)).exitCode).toBe(0);
      winner.child.kill('SIGTERM');
      expect((await winner.ended).code).toBe(143);
      expect([...processesOf('server-main'), ...processesOf('keeper-main')]).toEqual([]);
    });

    test('two mounts that start one at once share it', async () => {
      const other = at('other');
      const flags = ['--lazy', '--verity', 'off', '--background', 'off', '--state', state];
      await Promise.all([mount(), documentOf(['mount', reference, other, ...flags])]);
      expect(processesOf('server-main')).toHaveLength(1);
      await compareByFour();
      expect(await read(files[3]!, other)).toBe(digests[3]);
      expect((await seekable('umount', other)).exitCode).toBe(0);
      dropCaches();
      await compareByFour();
      await umount();
    });

    test('replaced by another, as after an upgrade, while four readers compare', async () => {
      await mount();
      let isOver = false;
      const all = compareByFour().finally(() => (isOver = true));
      const seen = new Set<number>();
      const isRunning = (): boolean => !isOver;
      while (isRunning() || seen.size < 3) {
        const [pid] = processesOf('server-main');
        if (pid !== undefined && !seen.has(pid) && (await lazyOf().catch(() => null)) !== null) {
          seen.add(pid);
          process.kill(processesOf('keeper-main')[0]!, 'SIGHUP');
        }
        await sleep(50);
      }
      await all;
      dropCaches();
      await compareByFour();
      await umount();
    });

    test('its keeper killed: it goes on, and ends with the last umount; killed then, readers get an error at once', async () => {
      await mount();
      process.kill(processesOf('keeper-main')[0]!, 'SIGKILL');
      await compareByFour();
      expect((await seekable('umount', target)).exitCode).toBe(0);
      while (processesOf('server-main').length > 0) await sleep(20);
      rmSync(join(state, 'content/lazy'), { recursive: true });
      dropCaches();
      await mount();
      process.kill(processesOf('keeper-main')[0]!, 'SIGKILL');
      harm('silent');
      const waiting = read(files[20]!).catch((error: unknown) => String(error));
      while ((await lazyOf()).waiting === 0) await sleep(20);
      process.kill(processesOf('server-main')[0]!, 'SIGKILL');
      expect(await waiting).toMatch(/Input\/output error|not connected/);
      await umount();
    });

    test('a reader that is killed while it waits ends at once, and nobody else notices', async () => {
      await mount('--io-timeout', '3600'); // whoever waits for that fails the test
      harm('silent');
      const reader = spawn('sha256sum', [join(target, files[20]!)], { stdio: 'ignore' });
      while ((await lazyOf()).waiting === 0) await sleep(20);
      reader.kill('SIGKILL');
      await once(reader, 'exit');
      // The kernel still waits on its behalf: the end of the mount must not.
      await umount();
    });
  });
});
