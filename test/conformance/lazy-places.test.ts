import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { readFile, readdir, readlink, stat, truncate, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf, runCli, runJson } from '../e2e/run-cli';
import { at, type Encoded } from '../e2e/workspace';
import { RangeServer } from '../support/range-server';
import { tarBytes } from '../support/tar-bytes';
import { LayoutBuilder } from './support/image';
import { processesOf, umount } from './support/lazily';
import { titleOf, whyNoMounts } from './support/machine';
import { state, useMounts } from './support/mounting';

// What is no image of a registry is mounted lazily as well: blobs of web servers and on disk, layouts, archives.

useMounts();

const exec = promisify(execFile);
const reason = whyNoMounts() ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');
const flags = ['--lazy', '--background', 'off', '--verity', 'off'];
let server: RangeServer | null = null;

afterEach(async () => {
  for (const program of ['keeper-main', 'server-main'])
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
  await server?.stop();
  server = null;
});

/** A file of noise, and a layer with it. */
const noise = randomBytes(1 << 22).toString('hex');
const layer = tarBytes([
  { name: './', type: '5', mode: 0o755 },
  { name: 'small', content: 'small' },
  { name: 'noise', content: noise },
]);
const digest = createHash('sha256').update(noise).digest('hex');

async function encoded(...more: string[]): Promise<{ blob: string; descriptor: string; document: Encoded }> {
  await writeFile(at('layer.tar'), layer);
  const args = ['encode', at('layer.tar'), at('blob'), '--chunk-size', '64KiB', '--dm-verity', ...more];
  const document = await documentOf<Encoded>(args);
  await writeFile(at('descriptor.json'), JSON.stringify(document));
  return { blob: at('blob'), descriptor: at('descriptor.json'), document };
}

async function mountLazily(subject: string, ...more: string[]): Promise<string> {
  const args = ['mount', subject, at('target'), ...flags, '--state', state, ...more];
  const { exitCode, stderr } = await runJson<MountResult>(args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr });
  return stderr;
}

/** What `mounts` says of the only layer. */
async function shown() {
  const [mount] = await documentOf<MountResult[]>(['mounts', '--state', state]);
  return mount!.layers[0]!.lazy;
}

/** A part of the layer is here; all of it once it was read, and it is what it should be. */
async function expectLazy(): Promise<void> {
  const before = (await shown())!;
  expect(before.present).toBeLessThan(before.chunks / 4);
  const { stdout } = await exec('sha256sum', [join(at('target'), 'noise')]);
  expect(stdout.split(' ')[0]).toBe(digest);
  expect((await shown())!.present).toBeGreaterThan(before.chunks / 2);
}

/** What the server's process has open. */
async function openFiles(): Promise<string[]> {
  const [pid] = processesOf('server-main');
  const folder = `/proc/${pid}/fd`;
  const links = (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => ''));
  return Promise.all(links);
}

describe.skipIf(reason !== null)(titleOf('lazy mounts of what is in no registry', reason), () => {
  test.each(['containerd', 'erofs-image-spec'])('a blob on a web server, profile %s', async (profile) => {
    const { blob, descriptor } = await encoded('--profile', profile);
    server = await RangeServer.start(await readFile(blob));
    expect(await mountLazily(server.url, '--descriptor', descriptor)).toBe('');
    await expectLazy();
    await umount();
    // Its tables are here, and what is missing is waited for.
    const { port } = server;
    await server.stop();
    const stderr = await mountLazily(`http://127.0.0.1:${port}/blob`, '--descriptor', descriptor);
    expect(stderr).toContain('the registry was not asked whether it still gives the layers that are here');
    expect(await readFile(join(at('target'), 'small'), 'utf8')).toBe('small');
    await umount();
    server = null;
  });

  test('a blob on a web server that is gone fails the mount, also when it is here', async () => {
    const { blob, descriptor } = await encoded();
    server = await RangeServer.start(await readFile(blob));
    await mountLazily(server.url, '--descriptor', descriptor);
    await umount();
    server.misbehave = (_request, response) => {
      response.writeHead(404).end();
      return true;
    };
    const { exitCode, stderr } = await runCli([
      ...['mount', server.url, at('target'), ...flags, '--state', state, '--descriptor', descriptor],
    ]);
    expect(stderr).toContain('status 404');
    expect(exitCode).not.toBe(0);
  });

  test('an address that may hold a secret is none for the server: the blob is mounted as a whole', async () => {
    const { blob, descriptor } = await encoded();
    server = await RangeServer.start(await readFile(blob));
    const stderr = await mountLazily(`${server.url}?signature=hunter2`, '--descriptor', descriptor);
    expect(stderr).toMatch(/^warning: .*mounted as a whole, not lazily: its address may hold a secret/m);
    expect(stderr).not.toContain('hunter2');
    expect(await shown()).toBeUndefined();
    expect(processesOf('server-main')).toEqual([]);
    const { stdout } = await exec('sha256sum', [join(at('target'), 'noise')]);
    expect(stdout.split(' ')[0]).toBe(digest);
    await umount();
  });

  test('a blob on disk; what its descriptor does not tell is mounted as a whole', async () => {
    const { blob, descriptor, document } = await encoded();
    await mountLazily(blob, '--descriptor', descriptor);
    await expectLazy();
    await umount();
    expect(await mountLazily(blob)).toContain('mounted as a whole, not lazily: it has no descriptor');
    await umount();
    await writeFile(at('plain.json'), JSON.stringify({ ...document, diffId: undefined }));
    expect(await mountLazily(blob, '--descriptor', at('plain.json'))).toContain(
      'does not say what it decodes to',
    );
    await umount();
    await truncate(blob, (await stat(blob)).size - 1);
    const { exitCode, stderr } = await runCli([
      ...['mount', blob, at('target'), ...flags, '--state', at('other'), '--descriptor', descriptor],
    ]);
    expect(stderr).toContain('but its descriptor says');
    expect(exitCode).not.toBe(0);
  });

  test.each(['oci', 'oci-archive'])(
    'an image of %s: its blobs are read where they lie',
    async (transport) => {
      const builder = new LayoutBuilder(at('tars'));
      builder.name(builder.image([builder.tarLayer(layer)]));
      const reference = `${transport}:${at('image')}:image`;
      await documentOf(['convert', `oci:${at('tars')}:image`, reference, '--chunk-size', '64KiB']);
      expect(await mountLazily(reference)).toBe('');
      await expectLazy();
      const files = await openFiles();
      expect(files.filter((file) => file.startsWith(at('image')))).not.toEqual([]);
      // No temporary copy; what is in the state folder has a name there.
      expect(files.filter((file) => file.endsWith('(deleted)') && !file.startsWith(state))).toEqual([]);
      await umount();
    },
  );

  test('an archive that comes by standard input is mounted as a whole', async () => {
    const builder = new LayoutBuilder(at('tars'));
    builder.name(builder.image([builder.tarLayer(layer)]));
    await documentOf(['convert', `oci:${at('tars')}:image`, `oci-archive:${at('image')}:image`]);
    const args = ['mount', 'oci-archive:-:image', at('target'), ...flags, '--state', state];
    const { exitCode, stderr } = await runCli(args, { input: await readFile(at('image')) });
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    expect(await shown()).toBeUndefined();
    await umount();
  });

  test('run starts a program of a blob on a web server', async () => {
    const { blob, descriptor } = await encoded();
    server = await RangeServer.start(await readFile(blob));
    const args = ['run', server.url, '--descriptor', descriptor, ...flags, '--state', state, '--', '/none'];
    const { stderr } = await runCli(args);
    expect(stderr).toContain('there is no such program in the image');
    expect(await documentOf(['mounts', '--state', state])).toEqual([]);
  });

  test('a lazy layer is read past its page cache, and 512 KiB ahead; an eager one as the kernel has it', async () => {
    const { blob, descriptor } = await encoded();
    const before = readAheadOfErofs();
    await mountLazily(blob, '--descriptor', descriptor);
    const options = (place: string) =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((line) => line.split(' ')[4]?.startsWith(place))!;
    const isDirect = options(join(state, 'layers')).includes('directio');
    expect(isDirect).toBe(kernelIs(6, 15));
    const added = [...readAheadOfErofs()].filter(([name]) => !before.has(name));
    // Other tests may mount meanwhile.
    if (kernelIs(6, 12)) expect(added.map(([, kibibytes]) => kibibytes)).toContain('512');
    await umount();
    await documentOf([
      'mount',
      blob,
      at('eager'),
      '--descriptor',
      descriptor,
      '--verity',
      'off',
      '--state',
      at('other'),
    ]);
    expect(options(join(at('other'), 'layers'))).not.toContain('directio');
    await documentOf(['umount', at('eager'), '--state', at('other')]);
  });
});

/** What the kernel reads ahead of file systems in files, in KiB, by the name of its entry. */
function readAheadOfErofs(): Map<string, string> {
  const folder = '/sys/class/bdi';
  const names = readdirSync(folder).filter((name) => name.startsWith('erofs-'));
  return new Map(
    names.map((name) => [name, readFileSync(join(folder, name, 'read_ahead_kb'), 'utf8').trim()]),
  );
}

/** Whether this kernel is of this version or a later one. */
function kernelIs(major: number, minor: number): boolean {
  const [ours = 0, ourMinor = 0] = release().split('.').map(Number);
  return ours > major || (ours === major && ourMinor >= minor);
}
