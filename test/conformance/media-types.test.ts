import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { makeTar, sampleTar } from '../e2e/sample';
import { at, folder, put, useFolders } from '../e2e/workspace';
import {
  digestOf,
  docker,
  host,
  hostName,
  LayoutBuilder,
  oci,
  type Descriptor,
  type Layer,
} from './support/image';
import { checkCleanLayout, checkLayout } from './support/layout-check';
import { titleOf, whyWithout } from './support/machine';

// The claim: every kind of image that registries hold becomes a valid OCI image of seekable layers, and what is no image or no
// layer of ours is kept as it is.

useFolders();

const erofs = 'application/vnd.erofs.layer.v1';
const foreignGzip = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const offset = 'dev.containerd.erofs.zstd.chunk_table_offset';

interface Converted {
  digest: string;
  manifests: {
    platform: string;
    digest: string;
    layers: {
      source: string;
      digest: string;
      diffId: string;
      uncompressedSize: number | null;
      reused: boolean;
    }[];
  }[];
}

interface Manifest {
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
}

let tar: Buffer;
let builder: LayoutBuilder;
beforeEach(async () => {
  tar = await sampleTar();
  builder = new LayoutBuilder(at('source'));
});

const convert = (destination = 'oci:dst:new', ...flags: string[]): Promise<Converted> =>
  documentOf<Converted>(['convert', 'oci:source', destination, ...flags], { cwd: folder });

async function blobOf<T>(digest: string, layout = 'dst'): Promise<T> {
  return JSON.parse(await readFile(at(`${layout}/blobs/sha256/${digest.slice(7)}`), 'utf8')) as T;
}

const manifestOf = ({ digest }: { digest: string }): Promise<Manifest> => blobOf<Manifest>(digest);

/** The sample layer's image, made by another command. */
async function rawImage(): Promise<Buffer> {
  await documentOf(['build', await put('layer.tar', tar), at('raw')]);
  return readFile(at('raw'));
}

async function expectVerifies(reference = 'oci:dst:new', layers?: number): Promise<void> {
  const verified = await documentOf<{ ok: boolean; layers: unknown[] }>(['verify', reference], {
    cwd: folder,
  });
  expect(verified.ok).toBe(true);
  if (layers !== undefined) expect(verified.layers).toHaveLength(layers);
}

test('an image of Docker media types becomes one of OCI media types', async () => {
  const layer = builder.tarLayer(tar, docker.tarGzip);
  const image = builder.image([layer], { types: docker, config: { container: 'c', docker_version: '1' } });
  builder.name(builder.index([image], docker.index));
  const { digest } = await convert('oci:dst:new', '--all-platforms');
  const index = await blobOf<{ mediaType: string; manifests: Descriptor[] }>(digest);
  expect(index.mediaType).toBe(oci.index);
  const manifest = await manifestOf(index.manifests[0]!);
  expect(index.manifests[0]!.mediaType).toBe(oci.manifest);
  expect([manifest.mediaType, manifest.config.mediaType]).toEqual([oci.manifest, oci.config]);
  expect(manifest.layers.map(({ mediaType }) => mediaType)).toEqual([`${erofs}+zstd`]);
  expect(Object.keys(await blobOf(manifest.config.digest))).not.toContain('docker_version');
  expect(checkCleanLayout(at('dst'))).toEqual(['new']);
  expect(JSON.stringify([index, manifest])).not.toContain('docker');
});

describe('a layer that is EROFS already', () => {
  test('a raw image is wrapped as it is', async () => {
    const raw = await rawImage();
    builder.name(builder.image([{ descriptor: builder.put(erofs, raw), diffId: digestOf(raw) }]));
    const { manifests } = await convert('oci:dst:new', '--dm-verity');
    expect(manifests[0]!.layers).toMatchObject([
      { source: digestOf(raw), diffId: digestOf(raw), uncompressedSize: raw.length, reused: false },
    ]);
    const [layer] = (await manifestOf(manifests[0]!)).layers;
    expect(layer!.mediaType).toBe(`${erofs}+zstd`);
    expect(Object.keys(layer!.annotations!)).toContain('dev.containerd.erofs.dmverity.root_digest');
    await expectVerifies();
  });

  const noZstd = whyWithout('zstd');
  test.skipIf(noZstd !== null)(
    titleOf('zstd without a chunk table is decompressed and wrapped', noZstd),
    async () => {
      const raw = await rawImage();
      const { stdout: compressed } = spawnSync('zstd', ['-c'], { input: raw });
      builder.name(
        builder.image([{ descriptor: builder.put(`${erofs}+zstd`, compressed), diffId: digestOf(raw) }]),
      );
      const { manifests } = await convert('oci:dst:new', '--chunk-size', '64KiB');
      const [layer] = manifests[0]!.layers;
      expect(layer).toMatchObject({ diffId: digestOf(raw), uncompressedSize: raw.length, reused: false });
      expect(layer!.digest).not.toBe(digestOf(compressed));
      expect((await manifestOf(manifests[0]!)).layers[0]!.annotations).toHaveProperty([offset]);
      await expectVerifies();
    },
  );

  test.skipIf(noZstd !== null)(
    titleOf('zstd without a chunk table, of another DiffID, is exit 3', noZstd),
    async () => {
      const raw = await rawImage();
      const { stdout: compressed } = spawnSync('zstd', ['-c'], { input: raw });
      builder.name(
        builder.image([{ descriptor: builder.put(`${erofs}+zstd`, compressed), diffId: digestOf(tar) }]),
      );
      const { exitCode, stderr } = await runCli(['convert', 'oci:source', 'oci:dst:new'], { cwd: folder });
      expect({ exitCode, stderr }).toEqual({
        exitCode: 3,
        stderr: expect.stringMatching(/^error: [^\n]+\n$/) as string,
      });
    },
  );

  test('annotations that are not of the encoding are kept', async () => {
    const raw = await rawImage();
    const descriptor = { ...builder.put(erofs, raw), annotations: { 'org.example.note': 'kept' } };
    builder.name(builder.image([{ descriptor, diffId: digestOf(raw) }]));
    const { manifests } = await convert();
    expect((await manifestOf(manifests[0]!)).layers[0]!.annotations).toMatchObject({
      'org.example.note': 'kept',
    });
  });
});

test('--keep-foreign keeps a non-distributable layer, descriptor and DiffID, also when it is not there', async () => {
  const here = builder.tarLayer(tar);
  const bytes = gzipSync(await makeTar([{ name: 'foreign', content: 'not ours' }]));
  const foreign: Layer = {
    descriptor: {
      mediaType: foreignGzip,
      digest: digestOf(bytes),
      size: bytes.length,
      urls: ['https://example.com/layer'],
    },
    diffId: digestOf(Buffer.from('anything')),
  };
  builder.name(builder.image([foreign, here]));
  expect((await runCli(['convert', 'oci:source', 'oci:dst:new'], { cwd: folder })).exitCode).toBe(1);
  const { manifests } = await convert('oci:dst:new', '--keep-foreign');
  const manifest = await manifestOf(manifests[0]!);
  expect(manifest.layers[0]).toEqual(foreign.descriptor);
  expect(manifest.layers[1]!.mediaType).toBe(`${erofs}+zstd`);
  const config = await blobOf<{ rootfs: { diff_ids: string[] } }>(manifest.config.digest);
  expect(config.rootfs.diff_ids[0]).toBe(foreign.diffId);
  expect(manifests[0]!.layers[0]).toMatchObject({
    digest: foreign.descriptor.digest,
    uncompressedSize: null,
  });
});

test('a layer that occurs twice is converted once', async () => {
  const twice = builder.tarLayer(tar);
  const once = builder.tarLayer(await makeTar([{ name: 'between', content: 'x' }]));
  builder.name(builder.image([twice, once, twice]));
  const { manifests } = await convert();
  const [{ layers } = { layers: [] }] = manifests;
  expect(layers).toHaveLength(3);
  expect(layers[2]).toEqual(layers[0]);
  expect(layers[1]!.digest).not.toBe(layers[0]!.digest);
  expect(checkLayout(at('dst')).reached.size).toBe(4); // manifest, config, two layers
  const { stdout } = await runCli(['convert', 'oci:source', 'oci:text:new'], { cwd: folder });
  expect(stdout.toString()).toContain('2 layers:');
});

describe('an index', () => {
  const platforms = [host, { os: 'linux', architecture: 's390x' }, { os: 'linux', architecture: 'riscv64' }];
  let attestations: Descriptor[];

  beforeEach(async () => {
    attestations = [];
    const images: Descriptor[] = [];
    const shared = builder.tarLayer(tar);
    for (const platform of platforms) {
      const own = builder.tarLayer(await makeTar([{ name: 'arch', content: platform.architecture }]));
      const image = builder.image([shared, own], { platform });
      images.push({ ...image, annotations: { 'org.example.arch': platform.architecture } });
      attestations.push(attestationOf(image));
    }
    builder.name(builder.index([...images, ...attestations]));
  });

  function attestationOf({ digest }: Descriptor): Descriptor {
    const statement = builder.put('application/vnd.in-toto+json', { subject: digest, predicate: {} });
    const config = builder.put(oci.config, {
      architecture: 'unknown',
      os: 'unknown',
      rootfs: { type: 'layers', diff_ids: [digestOf(Buffer.from(digest))] },
    });
    const manifest = builder.put(oci.manifest, {
      schemaVersion: 2,
      mediaType: oci.manifest,
      config,
      layers: [statement],
    });
    return {
      ...manifest,
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': digest,
      },
      platform: { architecture: 'unknown', os: 'unknown' },
    };
  }

  test('one --platform gives its manifest', async () => {
    const { digest, manifests } = await convert('oci:dst:new', '--platform', 'linux/s390x');
    expect(manifests.map(({ platform }) => platform)).toEqual(['linux/s390x']);
    expect((await manifestOf({ digest })).mediaType).toBe(oci.manifest);
    checkCleanLayout(at('dst'));
    await expectVerifies('oci:dst:new', 2);
  });

  test('two give an index of those two, with the attestations of those two', async () => {
    const { digest, manifests } = await convert(
      'oci:dst:new',
      '--platform',
      'linux/riscv64',
      '--platform',
      hostName,
    );
    expect(manifests.map(({ platform }) => platform).sort()).toEqual([hostName, 'linux/riscv64'].sort());
    const index = await blobOf<{ mediaType: string; manifests: Descriptor[] }>(digest);
    expect(index.mediaType).toBe(oci.index);
    const others = index.manifests.filter(({ platform }) => platform?.os === 'unknown');
    expect([index.manifests.length, others]).toEqual([4, [attestations[0], attestations[2]]]);
    checkCleanLayout(at('dst'));
    await expectVerifies('oci:dst:new', 4);
  });

  test('--all-platforms keeps the attestations, byte for byte, and the annotations', async () => {
    const { digest, manifests } = await convert('oci:dst:new', '--all-platforms');
    expect(manifests).toHaveLength(3);
    const index = await blobOf<{ manifests: Descriptor[] }>(digest);
    expect(index.manifests).toHaveLength(6);
    expect(index.manifests.filter(({ platform }) => platform?.os === 'unknown')).toEqual(attestations);
    const images = index.manifests.filter(({ platform }) => platform?.os === 'linux');
    for (const image of images) {
      expect(image.platform).not.toHaveProperty(['os.features']);
      expect(image.annotations).toEqual({ 'org.example.arch': image.platform!.architecture });
    }
    checkCleanLayout(at('dst')); // what the attestations refer to is there as well
    const [shared] = manifests.map(({ layers }) => layers[0]!.digest);
    expect(manifests.every(({ layers }) => layers[0]!.digest === shared)).toBe(true);
  });

  test.each([[['--os-features']], [['--profile', 'erofs-image-spec']]])(
    'says "erofs" in the os.features of its entries with %s, and not without',
    async (flags) => {
      const features = async (digest: string): Promise<unknown[]> => {
        const { manifests } = await blobOf<{ manifests: Descriptor[] }>(digest);
        return manifests.flatMap(({ platform }) =>
          platform?.os === 'linux' ? [platform['os.features'] ?? null] : [],
        );
      };
      const { digest } = await convert('oci:dst:new', '--all-platforms', ...flags);
      expect(await features(digest)).toEqual([['erofs'], ['erofs'], ['erofs']]);
      const args = ['convert', 'oci:dst:new', 'oci:dst:again', '--all-platforms', '--profile', 'containerd'];
      const again = await documentOf<Converted>(args, { cwd: folder });
      expect(await features(again.digest)).toEqual([null, null, null]);
    },
  );

  test('a platform that is missing is exit 1 and names those that there are', async () => {
    const args = [
      'convert',
      'oci:source',
      'oci:dst:new',
      '--platform',
      hostName,
      '--platform',
      'windows/amd64',
    ];
    const { exitCode, stderr } = await runCli(args, { cwd: folder });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: .*windows\/amd64.*linux\/s390x.*\n$/);
    expect(stderr).not.toContain('unknown/unknown');
  });
});
