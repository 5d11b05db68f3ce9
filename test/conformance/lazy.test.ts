import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import {
  digests,
  dropCaches,
  files,
  harm,
  lazyOf,
  local,
  mount,
  mountsOf,
  processesOf,
  proxy,
  read,
  readAll,
  reference,
  target,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from './support/lazy-image';
import { titleOf, whyNoContainers } from './support/machine';
import { state, support, useMounts } from './support/mounting';

// The claim: through a lazy mount everything reads as through an eager one, whatever dies or lies on the way; a reader gets right bytes
// or an error, never wrong bytes, and never waits for ever. What else may go wrong is in test/soak/.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();
const noContainers = whyNoContainers();

/** Every inode of a tree, as text. */
async function treeOf(folder: string): Promise<string> {
  return (await exec('python3', [join(support, 'walk.py'), folder], { maxBuffer: 2 ** 28 })).stdout;
}

describe.skipIf(reason !== null)(titleOf('lazy mounts', reason), () => {
  useLazyImage();

  test('everything is as in an eager mount, and comes only when it is read; the store outlives the mount', async () => {
    const eager = at('eager');
    await documentOf(['mount', local, eager, '--verity', 'off', '--state', at('eager-state')]);
    const { layers } = await mount();
    expect(layers.map(({ verity }) => verity)).toEqual(['none', 'none', 'none', 'none']);
    const before = await lazyOf();
    expect(before.present).toBeLessThan(before.chunks / 4);
    // In processes of their own: this one is the registry's proxy.
    const [lazyTree, eagerTree] = await Promise.all([target, eager].map(treeOf));
    expect(lazyTree).toBe(eagerTree);
    dropCaches();
    expect(await readAll()).toEqual(digests);
    const after = await lazyOf();
    expect(after.present).toBe(after.chunks);
    await umount();
    proxy.deliveries.length = 0;
    harm('status 503'); // for whoever asks for bytes that are here
    proxy.rate = 0;
    await mount();
    expect(await readAll()).toEqual(digests);
    const bytes = proxy.deliveries.reduce((sum, delivery) => sum + delivery.bytes, 0);
    expect(bytes).toBeLessThan(100_000); // the config, and nothing of a layer
    await umount();
    await documentOf(['umount', eager, '--state', at('eager-state')]);
  });

  test('wrong bytes are an error for their readers, are never stored, and right ones are taken later', async () => {
    await mount();
    harm('wrong bytes'); // one in each answer, which holds several frames
    const results = await Promise.allSettled(files.map((name) => read(name)));
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') expect(result.value).toBe(digests[i]);
      else expect(String(result.reason)).toContain('Input/output error');
    }
    expect(results.some(({ status }) => status === 'rejected')).toBe(true);
    harm();
    dropCaches();
    expect(await readAll()).toEqual(digests);
    await umount();
  });

  test('the registry away: what is here goes on, the rest fails after --io-timeout and comes when the registry is back', async () => {
    await mount('--io-timeout', '2');
    await read(files[0]!);
    harm('no connection');
    dropCaches();
    expect(await read(files[0]!)).toBe(digests[0]);
    await expect(read(files[20]!)).rejects.toThrow('Input/output error');
    harm('status 503');
    const refusals = (): number => proxy.done.get('status 503') ?? 0;
    const before = refusals();
    const waiting = read(files[21]!);
    await vi.waitUntil(() => refusals() > before, { timeout: 10_000, interval: 1 });
    harm();
    expect(await waiting).toBe(digests[21]);
    expect(await read(files[20]!)).toBe(digests[20]);
    await umount();
  });

  test('cut, slow, truncated and repeated answers cost time, and no byte', async () => {
    await mount();
    harm('cut answer', 'truncated', 'slow', 'no connection', 'status 500', 'status 429', 'repeated range');
    proxy.rate = 0.3;
    expect(
      await Promise.all(files.map((name) => read(name).catch(() => read(name).catch(() => read(name))))),
    ).toEqual(digests);
    await umount();
  });

  test('signals to readers cost no byte', async () => {
    await mount();
    harm('slow');
    const program = [
      'import hashlib, signal, sys',
      'signal.signal(signal.SIGALRM, lambda *_: None)',
      'signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)',
      'for name in sys.argv[1:]: print(hashlib.sha256(open(name, "rb").read()).hexdigest())',
      'signal.setitimer(signal.ITIMER_REAL, 0)',
    ].join('\n');
    const { stdout } = await exec('python3', ['-c', program, ...files.map((name) => join(target, name))]);
    expect(stdout.trim().split('\n')).toEqual(digests);
    await umount();
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
    await mount();
    expect(statSync(join(state, 'lazy')).mode & 0o077).toBe(0);
    expect(statSync(join(state, 'lazy/socket')).mode & 0o077).toBe(0);
    await umount();
    expect(processesOf('server-main')).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(folder);
  });
});
