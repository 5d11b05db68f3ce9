import { execFile, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf, runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import {
  harm,
  mountLazily,
  noiseLayer,
  pushImage,
  umount,
  useLazyMounts,
  whyNoLazyMounts,
} from './support/lazily';
import { titleOf } from './support/machine';
import { state } from './support/mounting';
import { freePort } from '../support/free-port';

// What a lazy mount shows of itself while it is read: to Prometheus, and to who watches.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

const exec = promisify(execFile);
const program = resolve(__dirname, '../../dist/cli/main.js');

/** Samples of a metric, its labels as they are written. */
async function metric(port: number, name: string): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const lines = (await response.text()).split('\n');
  const samples = lines.flatMap((line) => {
    const match = /^(\w+)(\{.*\})? (\S+)$/.exec(line);
    return match?.[1] === `seekable_erofs_lazy_${name}` ? [[match[2] ?? '', Number(match[3])] as const] : [];
  });
  return new Map(samples);
}

const sum = (samples: Map<string, number>): number =>
  [...samples.values()].reduce((total, value) => total + value, 0);

describe.skipIf(reason !== null)(titleOf('what a lazy mount shows', reason), () => {
  test('--metrics counts what is fetched and read, and mounts --watch follows it', async () => {
    const reference = await pushImage(noiseLayer('a', 20), noiseLayer('b', 20));
    const port = await freePort();
    await mountLazily(reference, '--metrics', `127.0.0.1:${port}`);
    const watching = spawn(process.execPath, [program, 'mounts', '--watch', '--json', '--state', state], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const lines = createInterface({ input: watching.stdout })[Symbol.asyncIterator]();
    const next = async () => (JSON.parse((await lines.next()).value as string) as MountResult[])[0]!;
    try {
      const before = { fetched: await metric(port, 'fetched_bytes_total'), watched: await next() };
      expect([...(await metric(port, 'layers')).values()]).toEqual([2]);
      expect(sum(await metric(port, 'demand_seconds_count'))).toBeGreaterThan(0);
      await exec('cat', [join(at('target'), 'b', '19')], { maxBuffer: 1 << 20 });
      const after = await metric(port, 'fetched_bytes_total');
      expect(sum(after)).toBeGreaterThan(sum(before.fetched));
      expect([...after.keys()].some((labels) => labels.includes('kind="demand"'))).toBe(true);
      expect(
        [...after.keys()].every((labels) => labels.includes(reference.split(':image')[0]!.slice(0, 18))),
      ).toBe(true);
      expect(sum(await metric(port, 'errors_total'))).toBe(0);
      const present = (mount: MountResult): number =>
        mount.layers.reduce((total, { lazy }) => total + lazy!.present, 0);
      let seen = await next();
      while (present(seen) <= present(before.watched)) seen = await next();
      expect(sum(await metric(port, 'present_chunks'))).toBe(present(seen));
      expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
    } finally {
      watching.kill('SIGINT');
    }
    await umount();
    await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
  });

  test.each(['json', 'plain'])(
    'how much is fetched is told while a mount is made (--progress %s)',
    async (form) => {
      const reference = await pushImage(noiseLayer('a', 20), noiseLayer('b', 20));
      harm('slow');
      const flags = [
        '--lazy',
        '--background',
        'off',
        '--verity',
        'off',
        '--state',
        state,
        '--progress',
        form,
      ];
      const { exitCode, stderr } = await runCli(['mount', reference, at('target'), ...flags]);
      expect(exitCode).toBe(0);
      harm();
      const lines = stderr.split('\n').filter((line) => line.includes('fetch'));
      if (form === 'plain') {
        expect(lines[0]).toMatch(/^fetch: [\d.]+ [kM]?B$/);
      } else {
        const events = lines.map((line) => JSON.parse(line) as { phase: string; done: number; unit: string });
        const fetched = events.filter(({ phase }) => phase === 'fetch').map(({ done }) => done);
        expect(fetched.length).toBeGreaterThan(0);
        expect(fetched.toSorted((a, b) => a - b)).toEqual(fetched);
        const [mount] = await documentOf<MountResult[]>(['mounts', '--state', state]);
        const all = mount!.layers.reduce((sum, { lazy }) => sum + lazy!.bytesFetched, 0);
        expect(fetched.at(-1)).toBeGreaterThan(100_000);
        expect(fetched.at(-1)).toBeLessThanOrEqual(all);
      }
      await umount();
    },
  );
});
