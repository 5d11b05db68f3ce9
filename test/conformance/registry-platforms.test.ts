import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { checkImage, ConversionPool, convertImage, verifyImage } from '../../src/index';
import { RegistryDestination } from '../../src/store/registry/destination';
import { makeTar, noise } from '../e2e/sample';
import { DockerRegistry } from '../support/docker-registry';
import { FaultyProxy } from '../support/faulty-proxy';
import { LayoutBuilder, type Descriptor, type Layer } from './support/image';
import { titleOf, whyWithout } from './support/machine';

// The claim: of an index whose platforms share layers, each distinct layer is fetched, converted and pushed exactly once.

const reason = whyWithout('docker-registry');
const architectures = ['amd64', 'arm64', 'riscv64'];

let folder: string;
/** Two ways to one registry, so that what is fetched and what is pushed are counted apart, and nothing can be mounted. */
let from: FaultyProxy;
let to: FaultyProxy;
let layers: Descriptor[];
const ending: (() => Promise<void>)[] = [];

beforeAll(async () => {
  if (reason !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'registry-platforms-'));
  ending.push(() => rm(folder, { recursive: true }));
  for (const name of ['tmp', 'home']) await mkdir(join(folder, name));
  vi.stubEnv('HOME', join(folder, 'home'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'home'));
  const registry = await DockerRegistry.start(join(folder, 'registry'));
  ending.push(() => registry.stop());
  from = await FaultyProxy.start(registry.host, () => 1);
  ending.push(() => from.stop());
  to = await FaultyProxy.start(registry.host, () => 1);
  ending.push(() => to.stop());
  layers = await putIndex(registry.host);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  for (const end of ending.reverse()) await end();
});

/** Puts an index of three platforms with five layers each; returns its distinct layers, 9 of the 15. */
async function putIndex(host: string): Promise<Descriptor[]> {
  const layout = new LayoutBuilder(join(folder, 'layout'));
  const layer = async (name: string): Promise<Layer> =>
    layout.tarLayer(await makeTar([{ name, content: noise(100_000, name) }]));
  const shared = [await layer('base'), await layer('data'), await layer('top')];
  const own = await Promise.all(
    architectures.map(async (name) => [await layer(`${name} a`), await layer(name)]),
  );
  const images = own.map(([a, b], i) =>
    // The same layer at other heights.
    layout.image(i === 1 ? [...shared, a!, b!] : [shared[0]!, a!, shared[1]!, b!, shared[2]!], {
      platform: { os: 'linux', architecture: architectures[i]! },
    }),
  );
  const read = (digest: string) => readFile(join(folder, 'layout/blobs/sha256', digest.slice(7)));
  const reference = { transport: 'docker', host, repository: 'team/app' } as const;
  const store = await RegistryDestination.open(reference, { tmpDir: join(folder, 'tmp') });
  const distinct = [...shared, ...own.flat()].map(({ descriptor }) => descriptor);
  for (const descriptor of distinct) await store.writeBlob(descriptor, await read(descriptor.digest));
  for (const image of images) {
    const bytes = await read(image.digest);
    const { config } = JSON.parse(bytes.toString()) as { config: Descriptor };
    await store.writeBlob(config, await read(config.digest));
    await store.writeBlob(image, bytes);
  }
  const index = layout.index(images);
  await store.writeBlob(index, await read(index.digest));
  await store.setReference('tar', index);
  await store.close();
  return distinct;
}

describe.skipIf(reason !== null)(titleOf('an index of 3 platforms with 5 layers each', reason), () => {
  it('each distinct layer is fetched, converted and pushed once', async () => {
    const options = { tmpDir: join(folder, 'tmp'), allPlatforms: true };
    const pool = new ConversionPool();
    const encoded = vi.spyOn(pool, 'compute');
    const [source, destination] = [
      `docker://${from.host}/team/app:tar`,
      `docker://${to.host}/other/app:erofs`,
    ];
    const { manifests } = await convertImage(source, destination, { ...options, pool, dmVerity: true });

    const fetched = new Map<string, number>();
    for (const { path, bytes } of from.deliveries) {
      const digest = path.split('/').at(-1)!;
      fetched.set(digest, (fetched.get(digest) ?? 0) + bytes);
    }
    for (const { digest, size } of layers) expect(fetched.get(digest)).toBe(size);
    expect(encoded).toHaveBeenCalledTimes(layers.length);

    const made = manifests.map((manifest) => manifest.layers.map(({ digest }) => digest!));
    expect(made.map((digests) => digests.length)).toEqual([5, 5, 5]);
    const pushes = to.stored.flatMap((line) => /^PUT .*[?&]digest=(sha256[^&]+)/.exec(line)?.[1] ?? []);
    const pushed = pushes.map(decodeURIComponent).sort();
    expect(new Set(pushed).size).toBe(pushed.length);
    const distinct = new Set(made.flat());
    expect(distinct.size).toBe(layers.length);
    // Besides them only the three configs.
    expect(pushed.filter((digest) => distinct.has(digest))).toHaveLength(distinct.size);
    expect(pushed).toHaveLength(distinct.size + architectures.length);
    expect(from.stored).toEqual([]);

    expect(await verifyImage(destination, { tmpDir: options.tmpDir })).toMatchObject({ ok: true });
    for (const architecture of architectures) {
      const platforms = [`linux/${architecture}`];
      expect(await checkImage(source, destination, { tmpDir: options.tmpDir, platforms })).toMatchObject({
        ok: true,
      });
    }
  });
});
