import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { writeLayout } from '../e2e/sample';
import { at } from '../e2e/workspace';
import { DockerRegistry } from '../support/docker-registry';
import { FaultyProxy } from '../support/faulty-proxy';
import { tarBytes } from '../support/tar-bytes';
import { mountLazily, processesOf, umount, whyNoLazyMounts } from './support/lazily';
import { run, titleOf, whyWithout } from './support/machine';
import { useMounts } from './support/mounting';

// The claim: with `--device-tar` a registry has the bytes of uncompressed tars once for old and new clients, nobody sends them again, and of
// compressed ones a lazy mount fetches the chunks that are read.

const reason = whyNoLazyMounts() ?? whyWithout('skopeo');

useMounts();

const contents = Array.from({ length: 60 }, () => randomBytes(50_000).toString('hex'));
const lower = tarBytes([
  { name: 'data/', type: '5', mode: 0o755 },
  ...contents.map((content, i) => ({ name: `data/${i}`, content })),
  { name: 'gone', content: 'gone' },
]);
const added = randomBytes(500_000).toString('hex');
const upper = tarBytes([{ name: '.wh.gone' }, { name: 'data/new', content: added }]);

describe.skipIf(reason !== null)(titleOf('docker-registry', reason), () => {
  let storage: string;
  let registry: DockerRegistry;
  let proxy: FaultyProxy;
  /** Bytes that the program sent in one test. */
  let sent = 0;

  beforeAll(async () => {
    storage = await mkdtemp('/tmp/device-tar-registry-');
  });
  beforeEach(async () => {
    registry = await DockerRegistry.start(join(storage, `${Math.random()}`));
    proxy = await FaultyProxy.start(registry.host, Math.random);
    proxy.deny = ({ headers }) => {
      sent += Number(headers['content-length'] ?? 0);
      return null;
    };
    sent = 0;
  });
  afterEach(async () => {
    for (const program of ['keeper-main', 'server-main'])
      for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
    await proxy.stop();
    await registry.stop();
  });
  afterAll(() => rm(storage, { recursive: true }));

  const reference = (name: string): string => `docker://${proxy.host}/${name}`;

  /** Puts the tars where their users have them; returns the layers' digests. */
  async function pushTars(compress: boolean): Promise<string[]> {
    const digests = await writeLayout(at('source'), [lower, upper], { compress });
    const to = `docker://${registry.host}/team/app:tar`;
    run('skopeo', [
      'copy',
      '--preserve-digests',
      '--dest-tls-verify=false',
      `oci:${at('source')}:sample`,
      to,
    ]);
    return digests;
  }

  async function storedBytes(): Promise<number> {
    const files = await readdir(registry.data, { recursive: true, withFileTypes: true });
    const sizes = files.map(async (file) =>
      file.isFile() ? (await stat(join(file.parentPath, file.name))).size : 0,
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  interface Inspected {
    manifests: { digest: string; layers: { descriptor: { digest: string; mediaType: string } }[] }[];
  }

  const convert = (to: string, ...flags: string[]) =>
    documentOf([
      ...['convert', reference('team/app:tar'), reference(to), '--device-tar'],
      ...['--profile', 'erofs-image-spec', '--chunk-size', '64KiB', ...flags],
    ]);

  test.each([
    ['the same repository', 'team/app', ['--append-to-index']],
    ['another repository', 'team/other', ['--append-to-index']],
    ['another repository, without the tar image', 'team/other', []],
  ])('of uncompressed tars grows by less than 5 %%, in %s', async (_, repository, flags) => {
    const tars = await pushTars(false);
    const before = await storedBytes();
    await convert(`${repository}:both`, ...flags);
    expect(await storedBytes()).toBeLessThan(1.05 * before);
    expect(sent).toBeLessThan(0.05 * before);
    const uploads = proxy.stored.filter((line) =>
      tars.some((digest) => line.includes(encodeURIComponent(digest))),
    );
    // What it has in another repository, it was asked to take from there.
    expect(uploads.filter((line) => !line.includes('mount='))).toEqual([]);
    expect(uploads).toHaveLength(repository === 'team/app' ? 0 : tars.length);

    const [tar, both] = [reference('team/app:tar'), reference(`${repository}:both`)];
    expect(await documentOf(['verify', both])).toMatchObject({ ok: true });
    expect(await documentOf(['check', tar, both])).toMatchObject({ ok: true });
    const old = await documentOf<Inspected>(['inspect', tar]);
    const { manifests } = await documentOf<Inspected>(['inspect', both]);
    if (flags.length > 0) expect(manifests[0]!.digest).toBe(old.manifests[0]!.digest);
    const layers = manifests.at(-1)!.layers.map(({ descriptor }) => descriptor.digest);
    expect(layers).toEqual(expect.arrayContaining(tars));
  });

  test('an old client gets the tars out of the index', async () => {
    const tars = await pushTars(false);
    await convert('team/app:both', '--append-to-index');
    const from = `docker://${registry.host}/team/app:both`;
    run('skopeo', ['copy', '--src-tls-verify=false', from, `dir:${at('old')}`]);
    const manifest = JSON.parse(readFileSync(at('old/manifest.json'), 'utf8')) as {
      layers: { digest: string }[];
    };
    expect(manifest.layers.map(({ digest }) => digest)).toEqual(tars);
  });

  test('of compressed tars gives a lazy mount the chunks of the device that it reads', async () => {
    await pushTars(true);
    await convert('team/app:erofs');
    const { manifests } = await documentOf<Inspected>(['inspect', reference('team/app:erofs')]);
    const devices = manifests[0]!.layers.filter(({ descriptor }) =>
      descriptor.mediaType.endsWith('.tar+zstd'),
    );
    expect(devices).toHaveLength(2);
    proxy.deliveries.length = 0;
    await mountLazily(reference('team/app:erofs'), '--prefetch', 'none');
    // Not synchronously: the proxy answers in this process.
    const read = (name: string) => readFile(at(`target/${name}`), 'latin1');
    expect((await read('data/7')) === contents[7]).toBe(true);
    const ofDevices = proxy.deliveries.filter(({ path }) =>
      devices.some(({ descriptor }) => path.includes(descriptor.digest)),
    );
    const fetched = ofDevices.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(fetched).toBeGreaterThan(50_000);
    expect(fetched).toBeLessThan(lower.length / 8);
    for (const [i, content] of contents.entries()) expect((await read(`data/${i}`)) === content).toBe(true);
    expect((await read('data/new')) === added).toBe(true);
    await expect(read('gone')).rejects.toThrow('ENOENT');
    await umount();
  });
});
