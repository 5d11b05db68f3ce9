import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { MountResult } from '../../../src/index';
import { documentOf, runCli } from '../../e2e/run-cli';
import { at, folder } from '../../e2e/workspace';
import { DockerRegistry } from '../../support/docker-registry';
import { FaultyProxy, type Fault } from '../../support/faulty-proxy';
import { whyNoMounts, whyWithout } from './machine';
import { state, useMounts, writeImage } from './mounting';
import type { TarEntryBytes } from '../../support/tar-bytes';

/** Why lazy mounts of a registry's images can't be tested here; null when they can. */
export const whyNoLazyMounts = (): string | null =>
  whyNoMounts() ?? whyWithout('docker-registry') ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');

/** Layers of noise, so that every chunk has to come from the registry. */
export const noiseLayer = (name: string, files: number, bytes = 100_000): TarEntryBytes[] => [
  { name: './', type: '5', mode: 0o755 },
  { name: `${name}/`, type: '5', mode: 0o755 },
  ...Array.from({ length: files }, (_, i) => ({
    name: `${name}/${i}`,
    content: randomBytes(bytes / 2).toString('hex'),
  })),
];

export let proxy: FaultyProxy;

/** Gives each test a state folder, and all of them a registry behind a proxy; no process is left of a test. */
export function useLazyMounts(isSkipped: boolean): void {
  useMounts();
  if (isSkipped) return;
  let registry: DockerRegistry;
  let storage: string;
  beforeAll(async () => {
    storage = await mkdtemp('/tmp/lazy-registry-');
    registry = await DockerRegistry.start(storage);
    proxy = await FaultyProxy.start(registry.host, Math.random);
  });
  afterAll(async () => {
    await proxy.stop();
    await registry.stop();
    await rm(storage, { recursive: true });
  });
  beforeEach(() => {
    harm();
  });
  afterEach(() => {
    harm();
    for (const program of ['keeper-main', 'server-main'])
      for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
  });
}

/** Every request goes wrong in one of these ways; without any, all are right again. */
export function harm(...faults: Fault[]): void {
  proxy.choice = faults;
  proxy.rate = faults.length === 0 ? 0 : 1;
}

/** Processes of this test's servers. */
export function processesOf(program: string): number[] {
  const { stdout } = spawnSync('pgrep', ['-f', `${program}.*${folder}`]);
  return stdout.toString().trim().split('\n').filter(Boolean).map(Number);
}

/** Pushes an image of these layers, with dm-verity and small chunks; returns its reference. */
export async function pushImage(...layers: TarEntryBytes[][]): Promise<string> {
  await writeImage('local', layers);
  const reference = `docker://${proxy.host}/image:${folder.split('/').at(-1)}`;
  await documentOf([
    'convert',
    `oci:${at('local.tars')}:image`,
    reference,
    '--dm-verity',
    '--chunk-size',
    '64KiB',
  ]);
  return reference;
}

export const mountLazily = (reference: string, ...flags: string[]): Promise<MountResult> =>
  documentOf<MountResult>([
    ...['mount', reference, at('target'), '--lazy', '--background', 'off', '--verity', 'off'],
    ...[...flags, '--state', state],
  ]);

/** Also waits for the server's end. */
export async function umount(): Promise<void> {
  expect((await runCli(['umount', at('target'), '--state', state])).exitCode).toBe(0);
  while (processesOf('keeper-main').length > 0) await sleep(20);
}
