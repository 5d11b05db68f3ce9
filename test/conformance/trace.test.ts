import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { serializeTrace, type MountResult, type Trace } from '../../src/index';
import { documentOf, runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { DockerRegistry } from '../support/docker-registry';
import { FakeRegistry } from '../support/fake-registry';
import { titleOf, whyNoMounts, whyWithout } from './support/machine';
import { dir, state, useMounts, writeImage } from './support/mounting';

// The claim: what a program reads is written down, in the order of first use; with that, the next mount has it before it is read, and nothing
// else.

useMounts();

const exec = promisify(execFile);
const reason =
  whyNoMounts() ?? whyWithout('docker-registry') ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');

/** Files of noise in two layers; the last is large, and read in part. */
const noise = (layer: string, sizes: readonly number[]) =>
  sizes.map((size, i) => ({ name: `${layer}/${i}`, content: randomBytes(size / 2).toString('hex') }));
const lower = noise(
  'lower',
  Array.from({ length: 12 }, () => 200_000),
);
const upper = noise('upper', [100_000, 100_000, 4_000_000]);
const chunkSize = 64 << 10;
/** That a file of the lower layer fills at least. */
const chunksOfFile = Math.floor(200_000 / chunkSize);

let store: string;
let registry: DockerRegistry;
let target: string;
let plain: string;
let ordered: string;

const convert = (reference: string, ...flags: string[]) =>
  documentOf(['convert', `oci:${at('local.tars')}:image`, reference, '--chunk-size', '64KiB', ...flags]);
const mount = (reference: string, ...flags: string[]) =>
  documentOf<MountResult>([
    'mount',
    reference,
    target,
    ...flags,
    '--background',
    'off',
    '--verity',
    'off',
    '--state',
    state,
  ]);
const present = async (): Promise<number[]> => {
  const [mounted] = await documentOf<MountResult[]>(['mounts', '--state', state]);
  return mounted!.layers.map(({ lazy }) => lazy!.present);
};
/** Reads pieces of a file in a process of its own, without the kernel's reading ahead. */
const read = (name: string, skip = 0, count = 1 << 20) =>
  exec('python3', ['-c', script, join(target, name), String(skip), String(count)]);
const script =
  'import os, sys\nf = os.open(sys.argv[1], 0)\nos.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM)\nos.pread(f, int(sys.argv[3]), int(sys.argv[2]))';

async function umount(): Promise<void> {
  expect((await runCli(['umount', target, '--state', state])).exitCode).toBe(0);
}

/** The trace of a run that reads three files. */
async function record(): Promise<Trace> {
  const file = at('trace');
  await mount(plain, '--record', file);
  execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
  await read('upper/2', 1 << 20, 100_000);
  await sleep(20);
  await read('lower/7');
  await sleep(20);
  await read('upper/0');
  await umount();
  // Nobody else could use what was fetched for it.
  expect(readdirSync(join(state, 'content/lazy')).filter((name) => !name.endsWith('.lock'))).toEqual([]);
  return JSON.parse(readFileSync(file, 'utf8')) as Trace;
}

/** The chunks that layers have, when there are `least` of the first and no more than a moment ago. */
async function settled(least = 0): Promise<number[]> {
  for (let before = await present(); ;) {
    await sleep(200);
    const now = await present();
    if (now[0]! >= least && now.join() === before.join()) return now;
    before = now;
  }
}

describe.skipIf(reason !== null)(titleOf('traces', reason), () => {
  beforeAll(async () => {
    store = mkdtempSync('/tmp/trace-registry-');
    registry = await DockerRegistry.start(store);
  });
  afterAll(async () => {
    await registry.stop();
    rmSync(store, { recursive: true });
  });
  beforeEach(async () => {
    target = at('target');
    [plain, ordered] = ['plain', 'ordered'].map((tag) => `docker://${registry.host}/image:${tag}`) as [
      string,
      string,
    ];
    await writeImage('local', [
      [dir('.'), dir('lower'), ...lower],
      [dir('upper'), ...upper],
    ]);
    await convert(plain);
  });

  test('a recorded mount says what was read of which file, the first first, and leaves nothing else', async () => {
    const trace = await record();
    expect(trace).toMatchObject({ schema: 1, platform: 'linux/amd64' });
    expect(trace.image).toMatch(/^docker:\/\/.*:plain@sha256:[0-9a-f]{64}$/);
    expect(trace.reads.map(({ path }) => path)).toEqual(['/upper/2', '/lower/7', '/upper/0']);
    const [large, ...whole] = trace.reads;
    const bytes = large!.ranges.reduce((sum, [, length]) => sum + length, 0);
    expect(bytes).toBeGreaterThanOrEqual(100_000);
    expect(bytes).toBeLessThan(400_000);
    for (const { ranges } of whole) expect(ranges).toHaveLength(1);
    const shown = await runCli(['trace', 'show', at('trace')]);
    expect(shown.stdout.toString()).toMatch(/\/upper\/2\n.*\/lower\/7\n.*\/upper\/0\n/);
  });

  test('a mount that knows the trace has its chunks before they are read, and no others', async () => {
    await record();
    await mount(plain, '--lazy', '--prefetch', 'none');
    const without = await settled();
    await umount();
    await mount(plain, '--lazy', '--prefetch', at('trace'), '--state', state);
    const chunks = (await settled(without[0]! + chunksOfFile)).map((count, i) => count - without[i]!);
    expect(chunks[0]).toBeGreaterThanOrEqual(chunksOfFile);
    expect(chunks[0]).toBeLessThanOrEqual(Math.ceil(200_000 / chunkSize) + 1);
    const read = await present();
    await exec('cat', [join(target, 'lower/7'), join(target, 'upper/0')]);
    expect((await present())[0]).toBe(read[0]);
    await umount();
  });

  test('a trace that is attached to the image is as good as one that is given; a damaged one is logged and left out', async () => {
    await record();
    await mount(plain, '--lazy', '--prefetch', at('trace'));
    const given = await settled(chunksOfFile);
    await umount();
    rmSync(join(state, 'content'), { recursive: true });
    expect((await runCli(['trace', 'push', at('trace'), plain])).exitCode).toBe(0);
    await mount(plain, '--lazy');
    for (let i = 0; (await present()).join() !== given.join() && i < 50; i++) await sleep(100);
    expect(await present()).toEqual(given);
    await umount();
    await mount(plain, '--lazy', '--prefetch', 'none');
    await umount();

    const blobs = join(store, 'data/docker/registry/v2/blobs/sha256');
    const digest = createHash('sha256')
      .update(readFileSync(at('trace')))
      .digest('hex');
    const blob = join(blobs, digest.slice(0, 2), digest, 'data');
    writeFileSync(blob, Buffer.alloc(readFileSync(blob).length));
    await mount(plain, '--lazy');
    await exec('cat', [join(target, 'lower/7')]);
    await umount();
    expect(readFileSync(join(state, 'lazy/log'), 'utf8')).toContain('attached trace: ');
  });

  test('a mount does not wait for what is attached to its image', async () => {
    const fake = await FakeRegistry.start();
    try {
      fake.misbehave = ({ path }) => path.includes('/referrers/'); // never answered
      const reference = `docker://${fake.host}/app:erofs`;
      await convert(reference);
      await mount(reference, '--lazy');
      await exec('cat', [join(target, 'upper/0')]);
      expect(fake.calls.filter(({ path }) => path.includes('/referrers/'))).toHaveLength(1);
      await umount();
    } finally {
      await fake.stop();
    }
  });

  test('of an image that is laid out by it, the hot part is there without being told', async () => {
    await record();
    await convert(ordered, '--order', at('trace'));
    await mount(ordered, '--lazy');
    const before = await settled();
    await read('upper/2', 1 << 20, 100_000);
    await read('lower/7');
    await read('upper/0');
    expect(await present()).toEqual(before);
    expect(Math.max(...before)).toBeLessThan(25); // of 37 and 65
    const [mounted] = await documentOf<MountResult[]>(['mounts', '--state', state]);
    for (const [i, { lazy }] of mounted!.layers.entries()) {
      expect(lazy!.prefetchedRead).toBeGreaterThan(1);
      expect(lazy!.prefetchedRead + lazy!.prefetchedUnread).toBe(before[i]);
    }
    const shown = await runCli(['mounts', '--state', state]);
    expect(shown.stdout.toString()).toMatch(/of \d+ prefetched \d+ were read/);
    await umount();
  });

  test('a trace of one tag starts the next: what is gone is named, the rest lies first', async () => {
    await record();
    const next = noise('upper', [130_000, 100_000, 4_000_000, 100_000]);
    await writeImage('next', [
      [dir('.'), dir('lower'), ...lower.filter(({ name }) => name !== 'lower/7')],
      [dir('upper'), ...next],
    ]);
    const source = `oci:${at('next.tars')}:image`;
    const converted = await runCli([
      'convert',
      source,
      ordered,
      '--chunk-size',
      '64KiB',
      '--order',
      at('trace'),
    ]);
    expect(converted.stderr).toMatch(/warning: .*the image has no file \/lower\/7/);
    expect(converted.exitCode).toBe(0);
    await mount(ordered, '--lazy');
    const before = await settled();
    await read('upper/2', 1 << 20, 100_000);
    await read('upper/0', 0, 100_000);
    expect(await present()).toEqual(before);
    expect(before[1]).toBeLessThan(25); // of 67
    await umount();
  });

  test('metadata and hot part come in one request of a layer, and its table in one', async () => {
    const big = (layer: string) => [
      { name: `${layer}/big`, content: randomBytes(6_000_000).toString('hex') },
    ];
    await writeImage('big', [
      [dir('.'), dir('lower'), ...big('lower'), ...lower],
      [dir('upper'), ...upper, ...big('upper')],
    ]);
    const reads = ['/upper/big', '/lower/big', '/lower/7'].map((path) => ({
      path,
      layer: `sha256:${'0'.repeat(64)}`,
      ranges: [],
      firstMs: 0,
    }));
    const platform = 'linux/amd64';
    writeFileSync(at('trace'), serializeTrace({ schema: 1, image: 'x', platform, reads }));
    const fake = await FakeRegistry.start();
    try {
      const reference = `docker://${fake.host}/app:erofs`;
      const order = ['--chunk-size', '64KiB', '--order', at('trace')];
      await documentOf(['convert', `oci:${at('big.tars')}:image`, reference, ...order]);
      fake.takeCalls();
      await mount(reference, '--lazy');
      await settled();
      for (const { path } of reads) execFileSync('cat', [join(target, path)], { stdio: 'ignore' });
      const perLayer = new Map<string, number>();
      for (const { path, headers } of fake.calls)
        if (headers.range !== undefined) perLayer.set(path, (perLayer.get(path) ?? 0) + 1);
      expect([...perLayer.values()]).toEqual([2, 2]);
      await umount();
    } finally {
      await fake.stop();
    }
  });

  test('a trace is not written over what the image is read from, nor for what is no image', async () => {
    const archive = at('local.oci.tar');
    await documentOf(['convert', `oci:${at('local.tars')}:image`, `oci-archive:${archive}:image`]);
    const before = readFileSync(archive);
    const onto = await runCli([
      'mount',
      `oci-archive:${archive}:image`,
      target,
      '--record',
      archive,
      '--state',
      state,
    ]);
    expect(onto.exitCode).toBe(2);
    expect(readFileSync(archive).equals(before)).toBe(true);
    const nowhere = await runCli(['mount', plain, target, '--record', at('no/such/trace'), '--state', state]);
    expect(nowhere.exitCode).toBe(1);
    expect(existsSync(target)).toBe(false);
  });
});
