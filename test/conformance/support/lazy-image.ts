import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { MountResult } from '../../../src/index';
import { documentOf, runCli } from '../../e2e/run-cli';
import { at, folder } from '../../e2e/workspace';
import { DockerRegistry } from '../../support/docker-registry';
import { FaultyProxy, type Fault } from '../../support/faulty-proxy';
import { tarBytes } from '../../support/tar-bytes';
import { LayoutBuilder } from './image';
import { whyNoMounts, whyWithout } from './machine';
import { dir, state, support, threeLayers } from './mounting';

// An image in a registry behind a proxy that does harm, and its lazy mounts.

/** Why nothing can be mounted lazily here; null when it can. */
export const whyNoLazyMounts = (): string | null =>
  whyNoMounts() ?? whyWithout('docker-registry') ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');

const exec = promisify(execFile);

/** Files of noise, so that each chunk has to come from the registry. */
const noise = Array.from({ length: 24 }, (_, i) => ({
  name: `noise/${i}`,
  content: randomBytes(100_000).toString('hex'),
}));
export const files = noise.map(({ name }) => name);
/** Their digests. */
export const digests = noise.map(({ content }) => createHash('sha256').update(content).digest('hex'));

let home: string;
export let registry: DockerRegistry;
export let proxy: FaultyProxy;
/** The image behind the proxy. */
export let reference: string;
/** The same image in an OCI layout. */
export let local: string;
/** Where the running test mounts. */
export let target: string;

/** Gives the calling file a registry with the image, and each test a folder to mount in; ends what a failed test left running. */
export function useLazyImage(): void {
  beforeAll(async () => {
    home = await mkdtemp('/tmp/lazy-image-');
    registry = await DockerRegistry.start(join(home, 'registry'));
    proxy = await FaultyProxy.start(registry.host, Math.random);
    const builder = new LayoutBuilder(join(home, 'tars'));
    const layers = [...threeLayers, [dir('.'), dir('noise'), ...noise]];
    builder.name(builder.image(layers.map((entries) => builder.tarLayer(tarBytes(entries)))));
    const source = `oci:${join(home, 'tars')}:image`;
    const flags = ['--dm-verity', '--chunk-size', '64KiB'];
    local = `oci:${join(home, 'local')}:image`;
    reference = `docker://${proxy.host}/image:latest`;
    await documentOf(['convert', source, local, ...flags]);
    await documentOf(['convert', local, reference]);
  });
  afterAll(async () => {
    await proxy.stop();
    await registry.stop();
    await rm(home, { recursive: true });
  });
  beforeEach(() => {
    harm();
    target = at('target');
  });
  afterEach(() => {
    harm();
    proxy.deny = () => null;
    proxy.delay = 0;
    for (const program of ['main.js serve', 'keeper-main', 'server-main']) {
      for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
    }
  });
}

/** A registry that was stopped is there again, for the proxy at another address. */
export async function startRegistryAgain(): Promise<void> {
  registry = await DockerRegistry.start(join(home, 'registry'));
  proxy.target = registry.host;
}

/** From now on each request goes wrong in one of these ways; without any, all go right. */
export function harm(...faults: Fault[]): void {
  proxy.choice = faults;
  proxy.rate = faults.length === 0 ? 0 : 1;
}

export const seekable = (...args: string[]) => runCli([...args, '--state', state]);
export const mountsOf = () => documentOf<MountResult[]>(['mounts', '--state', state]);
/** What `mounts` says of a lazy layer; that with the noise is the fourth. */
export const lazyOf = async (layer = 3) => (await mountsOf())[0]!.layers[layer]!.lazy!;

/** What the page cache has of the mount goes, and of the layers' files below it. Not all: every other test would read its programs anew. */
export function dropCaches(): void {
  execFileSync('python3', [join(support, 'drop_caches.py'), target, join(state, 'lazy/layers')]);
}

/** All of the machine's, for what has no file: names, and inodes. */
export const dropAllCaches = () => execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);

/** Processes of the running test's state folder. */
export function processesOf(program: string): number[] {
  const { stdout } = spawnSync('pgrep', ['-f', `${program}.*${folder}`]);
  return stdout.toString().trim().split('\n').filter(Boolean).map(Number);
}

/** The digest of a file of the mount, read in a process of its own; rejects with what the system says. */
export async function read(name: string, root = target): Promise<string> {
  const { stdout } = await exec('sha256sum', [join(root, name)]).catch((error: unknown) => {
    throw new Error((error as { stderr: string }).stderr);
  });
  return stdout.split(' ')[0]!;
}

export const readAll = () => Promise.all(files.map((name) => read(name)));

/** Four readers at once, each of all files in an order of its own; rejects at the first byte that is not right. */
export async function compareByFour(): Promise<void> {
  const compare = async (offset: number): Promise<void> => {
    for (let i = 0; i < files.length; i++) {
      const index = (i + offset * 6) % files.length;
      expect(await read(files[index]!)).toBe(digests[index]);
    }
  };
  await Promise.all([0, 1, 2, 3].map(compare));
}

/** Mounts the image behind the proxy, as mountFrom(). */
export const mount = (...flags: string[]): Promise<MountResult> => mountFrom(reference, ...flags);

/** Mounts lazily, nothing in the background and dm-verity off unless flags say otherwise. */
export async function mountFrom(source: string, ...flags: string[]): Promise<MountResult> {
  const given = (name: string) => flags.includes(name);
  const defaults = [
    ...(given('--background') ? [] : ['--background', 'off']),
    ...(given('--verity') ? [] : ['--verity', 'off']),
  ];
  return documentOf<MountResult>([
    ...['mount', source, target, '--lazy', '--state', state],
    ...defaults,
    ...flags,
  ]);
}

export async function umount(): Promise<void> {
  expect((await seekable('umount', target)).exitCode).toBe(0);
  while (processesOf('keeper-main').length > 0) await sleep(20);
}

/** Kills keeper and server at once. */
export function killAll(): void {
  for (const pid of [...processesOf('keeper-main'), ...processesOf('server-main')])
    process.kill(pid, 'SIGKILL');
}
