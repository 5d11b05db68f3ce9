import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf, runCli } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import { DockerRegistry } from '../support/docker-registry';
import { FaultyProxy, type Fault } from '../support/faulty-proxy';
import { titleOf, whyNoContainers, whyNoMounts, whyWithout } from './support/machine';
import { dir, state, support, threeLayers, useMounts, writeImage } from './support/mounting';

// The claim: through a lazy mount everything reads as through an eager one, whatever dies or lies on the way; a reader gets right bytes
// or an error, never wrong bytes, and never waits for ever.

useMounts();

const exec = promisify(execFile);
const reason =
  whyNoMounts() ?? whyWithout('docker-registry') ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');
const noContainers = whyNoContainers();

/** Files of noise, so that each chunk has to come from the registry. */
const noise = Array.from({ length: 24 }, (_, i) => ({
  name: `noise/${i}`,
  content: randomBytes(100_000).toString('hex'),
}));
const files = noise.map(({ name }) => name);

let registry: DockerRegistry;
let proxy: FaultyProxy;
let reference: string;
let target: string;

const seekable = (...args: string[]) => runCli([...args, '--state', state]);
const mountsOf = () => documentOf<MountResult[]>(['mounts', '--state', state]);
const lazyOf = async (layer = 0) => (await mountsOf())[0]!.layers[layer]!.lazy!;
const dropCaches = () => execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
const processesOf = (program: string): number[] => {
  const { stdout } = spawnSync('pgrep', ['-f', `${program}.*${folder}`]);
  return stdout.toString().trim().split('\n').filter(Boolean).map(Number);
};

/** Reads a file of the mount in a process of its own; rejects with what the system says. */
async function read(name: string, root = target): Promise<string> {
  const { stdout } = await exec('sha256sum', [join(root, name)]).catch((error: unknown) => {
    throw new Error((error as { stderr: string }).stderr);
  });
  return stdout.split(' ')[0]!;
}

/** Every inode of a tree, as text. */
async function treeOf(folder: string): Promise<string> {
  return (await exec('python3', [join(support, 'walk.py'), folder], { maxBuffer: 2 ** 28 })).stdout;
}

function harm(...faults: Fault[]): void {
  proxy.choice = faults;
  proxy.rate = faults.length === 0 ? 0 : 1;
}

async function mount(...flags: string[]): Promise<MountResult> {
  const args = ['mount', reference, target, '--lazy', '--background', 'off', ...flags, '--state', state];
  return documentOf<MountResult>(args);
}

async function umount(): Promise<void> {
  expect((await seekable('umount', target)).exitCode).toBe(0);
  while (processesOf('keeper-main').length > 0) await sleep(20);
}

/** The digests of all files of noise, by `sha256sum` of what was put in. */
const expected = async (): Promise<string[]> => {
  const { createHash } = await import('node:crypto');
  return noise.map(({ content }) => createHash('sha256').update(content).digest('hex'));
};

describe.skipIf(reason !== null)(titleOf('lazy mounts', reason), () => {
  beforeAll(async () => {
    const { mkdtemp } = await import('node:fs/promises');
    registry = await DockerRegistry.start(await mkdtemp('/tmp/lazy-registry-'));
    proxy = await FaultyProxy.start(registry.host, Math.random);
  });
  afterAll(async () => {
    await proxy.stop();
    await registry.stop();
  });
  beforeEach(async () => {
    harm();
    target = at('target');
    reference = `docker://${proxy.host}/image:${folder.split('/').at(-1)}`;
    const local = await writeImage('local', [...threeLayers, [dir('.'), dir('noise'), ...noise]]);
    const flags = ['--dm-verity', '--chunk-size', '64KiB'];
    await documentOf(['convert', `oci:${at('local.tars')}:image`, reference, ...flags]);
    expect(local).toBe(`oci:${at('local')}:image`);
  });
  afterEach(() => {
    harm();
    for (const program of ['keeper-main', 'server-main']) {
      for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
    }
  });

  test('everything is as in an eager mount, and comes only when it is read; the store outlives the mount', async () => {
    const eager = at('eager');
    await documentOf([
      'mount',
      `oci:${at('local')}:image`,
      eager,
      '--verity',
      'off',
      '--state',
      at('eager-state'),
    ]);
    const { layers } = await mount('--verity', 'off');
    expect(layers.map(({ verity }) => verity)).toEqual(['none', 'none', 'none', 'none']);
    const before = await lazyOf(3);
    expect(before.present).toBeLessThan(before.chunks / 4);
    // In processes of their own: this one is the registry's proxy.
    const [lazyTree, eagerTree] = await Promise.all([target, eager].map(treeOf));
    expect(lazyTree).toBe(eagerTree);
    dropCaches();
    expect(await Promise.all(files.map((name) => read(name)))).toEqual(await expected());
    const after = await lazyOf(3);
    expect(after.present).toBe(after.chunks);
    await umount();
    proxy.deliveries.length = 0;
    harm('status 503'); // for whoever asks for bytes that are here
    proxy.rate = 0;
    await mount('--verity', 'off');
    expect(await Promise.all(files.map((name) => read(name)))).toEqual(await expected());
    const bytes = proxy.deliveries.reduce((sum, delivery) => sum + delivery.bytes, 0);
    expect(bytes).toBeLessThan(100_000); // the config, and nothing of a layer
    await umount();
    await documentOf(['umount', eager, '--state', at('eager-state')]);
  });

  test('a server that is killed again and again while four readers compare', async () => {
    await mount('--verity', 'off');
    const digests = await expected();
    let isOver = false;
    const readers = [0, 1, 2, 3].map(async (offset) => {
      for (let i = 0; i < files.length; i++) {
        const index = (i + offset * 6) % files.length;
        expect(await read(files[index]!)).toBe(digests[index]);
      }
    });
    const all = Promise.all(readers).finally(() => (isOver = true));
    let killed = 0;
    const isRunning = (): boolean => !isOver;
    while (isRunning() || killed < 3) {
      const [pid] = processesOf('server-main');
      // Only one that serves: the keeper gives up when none comes up for 5 s, and this machine may be slow.
      if (pid !== undefined && (await mountsOf())[0]?.layers[3]?.lazy !== undefined) {
        process.kill(pid, 'SIGKILL');
        killed++;
      }
      await sleep(Math.random() * 200);
    }
    await all;
    expect(killed).toBeGreaterThanOrEqual(3);
    await umount();
  });

  test('server and keeper killed: an error at once, not a wait; umount clears it, and the next mount works', async () => {
    await mount('--verity', 'off');
    await read(files[0]!);
    for (const pid of [...processesOf('keeper-main'), ...processesOf('server-main')])
      process.kill(pid, 'SIGKILL');
    await expect(read(files[20]!)).rejects.toThrow(/Input\/output error|not connected/);
    await umount();
    await mount('--verity', 'off');
    expect(await read(files[20]!)).toBe((await expected())[20]);
    await umount();
  });

  test('wrong bytes are an error for their readers, are never stored, and right ones are taken later', async () => {
    await mount('--verity', 'off');
    const digests = await expected();
    harm('wrong bytes'); // one in each answer, which holds several frames
    const results = await Promise.allSettled(files.map((name) => read(name)));
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') expect(result.value).toBe(digests[i]);
      else expect(String(result.reason)).toContain('Input/output error');
    }
    expect(results.some(({ status }) => status === 'rejected')).toBe(true);
    harm();
    dropCaches();
    expect(await Promise.all(files.map((name) => read(name)))).toEqual(digests);
    await umount();
  });

  test('the registry away: what is here goes on, the rest fails after --io-timeout and comes when the registry is back', async () => {
    await mount('--verity', 'off', '--io-timeout', '2');
    await read(files[0]!);
    harm('no connection');
    dropCaches();
    expect(await read(files[0]!)).toBe((await expected())[0]);
    await expect(read(files[20]!)).rejects.toThrow('Input/output error');
    harm('status 503');
    const waiting = read(files[21]!);
    await sleep(300);
    harm();
    expect(await waiting).toBe((await expected())[21]);
    expect(await read(files[20]!)).toBe((await expected())[20]);
    await umount();
  });

  test('cut, slow, truncated and repeated answers cost time, and no byte', async () => {
    await mount('--verity', 'off');
    harm('cut answer', 'truncated', 'slow', 'no connection', 'status 500', 'status 429', 'repeated range');
    proxy.rate = 0.3;
    expect(
      await Promise.all(files.map((name) => read(name).catch(() => read(name).catch(() => read(name))))),
    ).toEqual(await expected());
    await umount();
  });

  test('signals to readers cost no byte', async () => {
    await mount('--verity', 'off');
    harm('slow');
    const program = [
      'import hashlib, signal, sys',
      'signal.signal(signal.SIGALRM, lambda *_: None)',
      'signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)',
      'for name in sys.argv[1:]: print(hashlib.sha256(open(name, "rb").read()).hexdigest())',
      'signal.setitimer(signal.ITIMER_REAL, 0)',
    ].join('\n');
    const { stdout } = await exec('python3', ['-c', program, ...files.map((name) => join(target, name))]);
    expect(stdout.trim().split('\n')).toEqual(await expected());
    await umount();
  });

  test('umount while a read waits ends both', async () => {
    await mount('--verity', 'off', '--io-timeout', '5');
    harm('no connection');
    const waiting = read(files[20]!).catch((error: unknown) => String(error));
    while ((await lazyOf(3)).waiting === 0) await sleep(20);
    expect((await seekable('umount', target)).exitCode).toBe(0);
    expect(await waiting).toMatch(/Input\/output error|not connected|No such file/);
  });

  test('a layer that is not what its descriptor says is not mounted', async () => {
    harm('wrong bytes');
    const { exitCode, stderr } = await runCli(['mount', reference, target, '--lazy', '--state', state]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/^error: /m);
    harm();
    expect(existsSync(target)).toBe(false);
    expect(await mountsOf()).toEqual([]);
  });

  test.skipIf(noContainers !== null)(
    titleOf('run: the image is opened once, and what is no program is found before', noContainers),
    async () => {
      proxy.deliveries.length = 0;
      const flags = ['--lazy', '--background', 'off', '--verity', 'off', '--state', state];
      const { exitCode, stderr } = await runCli(['run', ...flags, reference, '--', '/none']);
      expect(stderr).toContain('there is no such program in the image');
      expect(exitCode).not.toBe(0);
      const places = proxy.deliveries.map(({ path, first }) => `${path} ${first}`);
      expect(places.length).toBeGreaterThan(4);
      expect(new Set(places).size).toBe(places.length);
      expect(await mountsOf()).toEqual([]);
    },
  );

  test('sockets and stores are for root alone, and no process is left', async () => {
    await mount('--verity', 'off');
    expect(statSync(join(state, 'lazy')).mode & 0o077).toBe(0);
    expect(statSync(join(state, 'lazy/socket')).mode & 0o077).toBe(0);
    await umount();
    expect(processesOf('server-main')).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(folder);
  });
});
