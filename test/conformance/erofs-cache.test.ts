import { spawn, spawnSync, execFile, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open as openFile, readFile } from 'node:fs/promises';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseDmveritySidecar } from '../../src/format/dmverity-sidecar';
import { parseVeritySuperblock } from '../../src/format/verity-superblock';
import type { CachedImageStatus } from '../../src/index';
import { documentOf, runJson } from '../e2e/run-cli';
import { at, type ErrorDocument } from '../e2e/workspace';
import {
  dropCaches,
  harm,
  local,
  processesOf,
  proxy,
  reference,
  useLazyImage,
  whyNoLazyMounts,
} from './support/lazy-image';
import { titleOf } from './support/machine';
import { leftovers, root, state, useMounts } from './support/mounting';

// The claim: what `serve --erofs-cache` shows is containerd's layer content cache, as `convert erofs-cache:` writes it, and fills as it is read.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();

let cache: string;
let server: ChildProcess;
let said: string;

/** Starts `serve`; resolves when it serves, or has ended. */
async function serve(...flags: string[]): Promise<void> {
  const common = ['--background', 'off', '--erofs-cache', cache, '--state', state];
  said = '';
  server = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'serve', ...common, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  server.stderr!.on('data', (piece: Buffer) => (said += piece.toString()));
  while (!said.includes('serving on') && server.exitCode === null) await sleep(20);
}

async function stop(): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  await ended;
}

const lazy = <T>(...args: string[]) => documentOf<T>(['lazy', ...args, '--state', state]);
const refused = async (...args: string[]) => {
  const { exitCode, document } = await runJson<ErrorDocument>(args);
  return [exitCode, document.error.message] as const;
};
const hexOf = (diffId: string): string => diffId.slice('sha256:'.length);
const fileOf = (diffId: string, folder = cache): string =>
  join(folder, 'sha256', hexOf(diffId).slice(0, 2), `${hexOf(diffId)}.erofs`);

/** Mounts EROFS from a file. */
const mountStraight = `
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), b'erofs', 1, None) and ctypes.get_errno())
`;

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A file's digest, read by a process of its own. */
async function sum(file: string): Promise<string> {
  return (await exec('sha256sum', [file])).stdout.slice(0, 64);
}

describe.skipIf(reason !== null)(titleOf('serve --erofs-cache', reason), () => {
  useLazyImage();
  beforeEach(() => {
    cache = at('cache');
  });
  afterEach(() => stop());

  test('shows the layers of images that are added, as convert writes them; names that it lacks are not there', async () => {
    await documentOf([
      'convert',
      local.replace(/local:image$/, 'tars:image'),
      `erofs-cache:${at('eager')}`,
      '--dm-verity',
    ]);
    await serve();
    expect(statSync(cache).isDirectory()).toBe(true);
    expect(readdirSync(cache)).toEqual([]);
    proxy.deliveries.length = 0;
    const added = await lazy<CachedImageStatus>('add', reference);
    const fetched = proxy.deliveries.reduce((bytes, delivery) => bytes + delivery.bytes, 0);
    const size = added.layers.reduce((bytes, { diffId }) => bytes + statSync(fileOf(diffId)).size, 0);
    expect(fetched).toBeLessThan(size / 2);
    expect(added.layers).toHaveLength(4);
    expect(await lazy('ls')).toEqual([added]);
    expect(existsSync(fileOf(`sha256:${'0'.repeat(64)}`))).toBe(false);
    // The eager cache has the same images under the names of the tars, which this image's layers say they are of.
    const eager = readdirSync(join(at('eager'), 'sha256'), { recursive: true, encoding: 'utf8' });
    const shown = await Promise.all(added.layers.map(({ diffId }) => readFile(fileOf(diffId))));
    const sidecars = eager.filter((name) => name.endsWith('.dmverity'));
    expect(sidecars).toHaveLength(4);
    for (const name of sidecars) {
      const path = join(at('eager'), 'sha256', name);
      const { hashOffset } = parseDmveritySidecar(readFileSync(path, 'utf8'));
      const image = readFileSync(path.replace('.dmverity', '')).subarray(0, hashOffset);
      expect(shown.some((file) => file.subarray(0, hashOffset).equals(image))).toBe(true);
    }
    // containerd opens no trees of SHA-512: with a sidecar it would not mount these layers at all.
    for (const { diffId } of added.layers) expect(existsSync(`${fileOf(diffId)}.dmverity`)).toBe(false);
    await stop();
    expect([readdirSync(cache), leftovers()]).toEqual([[], []]);
  });

  test('shows trees that containerd opens', async () => {
    const spec = `docker://${proxy.host}/spec:v1`;
    const flags = ['--profile', 'erofs-image-spec', '--dm-verity'];
    await documentOf(['convert', local.replace(/local:image$/, 'tars:image'), spec, ...flags]);
    await serve();
    const { layers } = await lazy<CachedImageStatus>('add', spec);
    for (const { diffId } of layers) {
      const sidecar = parseDmveritySidecar(await readFile(`${fileOf(diffId)}.dmverity`, 'utf8'));
      expect(sidecar.rootDigest).toMatch(/^sha256:/);
      const file = (await readFile(fileOf(diffId))).subarray(sidecar.hashOffset);
      expect(parseVeritySuperblock(file.subarray(0, 512), diffId).dataBlocks * 4096).toBe(sidecar.hashOffset);
    }
    await stop();
  });

  test('goes on after its server, or the machine, was restarted, also while the registry is away', async () => {
    await serve();
    const { layers } = await lazy<CachedImageStatus>('add', reference);
    const files = layers.map(({ diffId }) => fileOf(diffId));
    const sums = await Promise.all(files.map(sum));
    await stop();
    spawnSync('rm', ['-r', join(state, 'lazy')]); // all that /run has
    harm('no connection');
    await serve();
    expect(await Promise.all(files.map(sum))).toEqual(sums);
    const [image] = await lazy<CachedImageStatus[]>('ls');
    expect(image!.layers.map(({ present }) => present)).toEqual(image!.layers.map(({ chunks }) => chunks));
    process.kill(processesOf('server-main')[0]!, 'SIGKILL');
    dropCaches();
    expect(await Promise.all(files.map(sum))).toEqual(sums);
  });

  test('clears what server and keeper left that were killed', async () => {
    await serve();
    const { layers } = await lazy<CachedImageStatus>('add', reference);
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
    for (const pid of processesOf('server-main')) process.kill(pid, 'SIGKILL');
    while (processesOf('server-main').length > 0) await sleep(20);
    expect(() => readdirSync(cache)).toThrow(/ENOTCONN|ECONNABORTED/);
    await serve();
    expect(statSync(fileOf(layers[3]!.diffId)).size).toBeGreaterThan(0);
  });

  test('a keeper that is killed: what is shown goes on, and stays where the next one takes over', async () => {
    await serve();
    const { layers } = await lazy<CachedImageStatus>('add', reference);
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
    const files = layers.map(({ diffId }) => fileOf(diffId));
    const before = await sum(files[0]!);
    const open = await openFile(files[3]!);
    try {
      const read = async () =>
        digestOf((await open.read({ buffer: Buffer.alloc(4096), position: 200_000 })).buffer);
      await serve();
      const first = await read();
      dropCaches();
      expect([await read(), await sum(files[0]!)]).toEqual([first, before]);
    } finally {
      await open.close();
    }
    await stop();
    expect([readdirSync(cache), leftovers()]).toEqual([[], []]);
  });

  test.each([
    ['by EROFS itself', false],
    ['by a loop device', true],
  ])(
    'an image is not removed while a layer is mounted %s, also when the server was replaced',
    async (_what, isLoop) => {
      await serve();
      const { layers } = await lazy<CachedImageStatus>('add', reference);
      const file = fileOf(layers[3]!.diffId);
      mkdirSync(at('mounted'));
      // mount(8) makes a loop device of every file.
      if (isLoop) await exec('mount', ['-o', 'loop,ro', '-t', 'erofs', file, at('mounted')]);
      else await exec('python3', ['-c', mountStraight, file, at('mounted')]);
      const [exit, message] = await refused('lazy', 'rm', reference, '--state', state);
      expect([exit, message]).toEqual([1, expect.stringContaining('is mounted') as string]);
      process.kill(processesOf('server-main')[0]!, 'SIGKILL');
      expect((await refused('lazy', 'rm', reference, '--state', state))[0]).toBe(1);
      spawnSync('umount', [at('mounted')]);
      while (leftovers().some((line) => line.includes('.erofs'))) await sleep(20); // the loop device detaches by itself
      await lazy('rm', reference);
      expect([await lazy('ls'), existsSync(file)]).toEqual([[], false]);
      expect((await refused('lazy', 'rm', reference, '--state', state))[1]).toContain('no such image');
    },
  );

  test('shows EROFS layers in the place of tars when the command line says so', async () => {
    const tars = `docker://${proxy.host}/tars:latest`;
    await exec('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      local.replace(/local:image$/, 'tars:image'),
      tars,
    ]);
    await serve();
    expect((await refused('lazy', 'add', tars, '--state', state))[1]).toContain('--layers-from');
    const { layers } = await lazy<CachedImageStatus>('add', tars, '--layers-from', reference);
    const erofs = await lazy<CachedImageStatus>('add', reference);
    expect(layers.map(({ diffId }) => diffId)).not.toEqual(erofs.layers.map(({ diffId }) => diffId));
    expect(await sum(fileOf(layers[3]!.diffId))).toBe(await sum(fileOf(erofs.layers[3]!.diffId)));
    const [exit, message] = await refused('lazy', 'add', tars, '--layers-from', tars, '--state', state);
    expect([exit, message]).toEqual([2, expect.stringContaining('tar layer') as string]);
  });

  test('a folder with something in it is refused, and so is a conversion into what is shown', async () => {
    mkdirSync(cache);
    writeFileSync(join(cache, 'file'), '');
    await serve();
    expect([server.exitCode, said]).toEqual([
      2,
      expect.stringContaining('there is something in it') as string,
    ]);
    spawnSync('rm', [join(cache, 'file')]);
    await serve();
    const [exit, message] = await refused('convert', local, `erofs-cache:${cache}`);
    expect([exit, message]).toEqual([
      2,
      expect.stringContaining('a lazy server shows its layers there') as string,
    ]);
  });

  test('without a cache, or a server, nothing can be added', async () => {
    expect((await refused('lazy', 'ls', '--state', state))[1]).toContain('none runs');
  });
});
