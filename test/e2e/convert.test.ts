import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { documentOf, runCli, runJson } from './run-cli';
import { blobPath, filesUnder, makeTar, readBlob, sampleTar, sha256, writeLayout } from './sample';

interface Converted {
  source: string;
  destination: string;
  digest: string;
  manifests: {
    platform: string;
    digest: string;
    layers: {
      source: string;
      digest: string;
      size: number;
      diffId: string;
      uncompressedSize: number;
      reused: boolean;
    }[];
  }[];
}

interface Index {
  manifests: {
    digest: string;
    mediaType: string;
    platform?: { os: string; architecture: string; 'os.features'?: string[] };
    annotations?: Record<string, string>;
  }[];
}

const host = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
const other = host === 'linux/arm64' ? 'linux/amd64' : 'linux/arm64';
const keys = (value: object): string[] => Object.keys(value).sort();

let root: string;
let folder: string;
let tars: Buffer[];
let number = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'convert-e2e-'));
  const upper = await makeTar([
    { name: 'etc/.wh.hostname', content: '' },
    { name: 'etc/motd', content: 'hello\n' },
  ]);
  tars = [await sampleTar(), upper];
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(async () => {
  folder = join(root, `${number++}`);
  await mkdir(folder);
});

const at = (name: string): string => join(folder, name);
const convert = (source: string, destination: string, ...flags: string[]): Promise<Converted> =>
  documentOf<Converted>(['convert', source, destination, ...flags], { cwd: folder });
const topIndex = async (dir: string): Promise<Index> =>
  JSON.parse(await readFile(join(at(dir), 'index.json'), 'utf8')) as Index;

test('an image becomes one of seekable layers, and its document says which', async () => {
  const sources = await writeLayout(at('src'), tars, { platforms: [host] });
  const document = await convert('oci:src:sample', 'oci:dst:new', '--dm-verity');
  expect(keys(document)).toEqual(['destination', 'digest', 'manifests', 'source']);
  expect(document).toMatchObject({ source: 'oci:src:sample', destination: 'oci:dst:new' });
  const [manifest] = document.manifests;
  expect(document.manifests).toHaveLength(1);
  expect(keys(manifest!)).toEqual(['digest', 'layers', 'platform']);
  expect(manifest).toMatchObject({ platform: host, digest: document.digest });
  expect(manifest!.layers.map(({ source }) => source)).toEqual(sources);
  for (const layer of manifest!.layers) {
    expect(keys(layer)).toEqual(['diffId', 'digest', 'reused', 'size', 'source', 'uncompressedSize']);
    const bytes = await readFile(blobPath(at('dst'), layer.digest));
    expect({ digest: sha256(bytes), size: bytes.length }).toEqual({ digest: layer.digest, size: layer.size });
  }
});

test('manifest, config and index are rewritten to match', async () => {
  await writeLayout(at('src'), tars, { platforms: [host] });
  const { digest, manifests } = await convert('oci:src', 'oci:dst:new');
  const { layers } = manifests[0]!;
  const [named] = (await topIndex('dst')).manifests;
  expect(named).toMatchObject({
    digest,
    annotations: { 'org.opencontainers.image.ref.name': 'new' },
  });
  interface Manifest {
    config: { digest: string };
    layers: { mediaType: string; digest: string }[];
  }
  const manifest = await readBlob<Manifest>(at('dst'), digest);
  expect(manifest.layers.map((layer) => layer.digest)).toEqual(layers.map((layer) => layer.digest));
  for (const { mediaType } of manifest.layers) expect(mediaType).toBe('application/vnd.erofs.layer.v1+zstd');
  expect(await readBlob(at('dst'), manifest.config.digest)).toMatchObject({
    'os.features': ['erofs'],
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  });
});

test('what was converted verifies, and can be inspected', async () => {
  await writeLayout(at('src'), tars, { platforms: [host] });
  const { digest, manifests } = await convert(
    'oci:src',
    'oci:dst:new',
    '--dm-verity',
    '--chunk-size',
    '64KiB',
  );
  const { layers } = manifests[0]!;
  const verified = await documentOf<{ ok: boolean; layers: object[] }>(['verify', 'oci:dst:new'], {
    cwd: folder,
  });
  expect(verified.ok).toBe(true);
  expect(verified.layers).toMatchObject(
    layers.map((layer) => ({ digest: layer.digest, diffId: layer.diffId, merkle: 'ok' })),
  );
  interface Inspection {
    digest: string;
    manifests: { layers: { descriptor: { digest: string } }[] }[];
  }
  const inspected = await documentOf<Inspection>(['inspect', 'oci:dst'], { cwd: folder });
  expect(keys(inspected)).toEqual(['digest', 'manifests', 'mediaType']);
  expect(inspected.digest).toBe(digest);
  expect(keys(inspected.manifests[0]!)).toEqual(['config', 'digest', 'layers', 'platform']);
  const [first] = inspected.manifests[0]!.layers;
  expect(keys(first!)).toEqual(['descriptor', 'dmverity', 'mediaType', 'profile', 'size', 'table', 'tree']);
  expect(first!.descriptor.digest).toBe(layers[0]!.digest);
});

test('tar layers verify as well, and a changed one is found', async () => {
  const [first] = await writeLayout(at('src'), tars, { platforms: [host] });
  const document = await documentOf<{ layers: object[] }>(['verify', 'oci:src'], { cwd: folder });
  expect(document).toMatchObject({ ok: true, layers: tars.map((tar) => ({ diffId: sha256(tar) })) });
  const file = blobPath(at('src'), first!);
  const bytes = await readFile(file);
  bytes[1000]! ^= 1;
  await writeFile(file, bytes);
  const run = await runJson<{ ok: boolean }>(['verify', 'oci:src'], { cwd: folder });
  expect(run.exitCode).toBe(3);
  expect(run.document.ok).toBe(false);
});

test('layers that are seekable already pass through', async () => {
  await writeLayout(at('src'), tars, { platforms: [host] });
  const once = await convert('oci:src', 'oci:one:a', '--dm-verity', '--chunk-size', '64KiB');
  const twice = await convert('oci:one', 'oci:two:a');
  const digests = ({ manifests }: Converted): string[] => manifests[0]!.layers.map(({ digest }) => digest);
  expect(digests(twice)).toEqual(digests(once));
  const rewrapped = await convert('oci:one', 'oci:three:a', '--chunk-size', '128KiB');
  expect(digests(rewrapped)[0]).not.toBe(digests(once)[0]);
  expect(rewrapped.manifests[0]!.layers.map(({ diffId }) => diffId)).toEqual(
    once.manifests[0]!.layers.map(({ diffId }) => diffId),
  );
});

test('archives stream through stdin and stdout, and stderr carries the summary', async () => {
  await writeLayout(at('src'), tars, { platforms: [host] });
  const { digest } = await convert('oci:src', 'oci-archive:plain.tar:x');
  const out = await runCli(['convert', 'oci:src', 'oci-archive:-:x'], { cwd: folder });
  expect(out.exitCode, out.stderr).toBe(0);
  expect(out.stdout.subarray(257, 262).toString()).toBe('ustar');
  expect(out.stderr).toContain(digest);
  expect(out.stderr).toMatch(/2 layers: .+ in, .+ out .+ MB\/s, .+ s\n/);
  await writeFile(at('out.tar'), out.stdout);
  expect(await documentOf(['verify', 'oci-archive:out.tar:x'], { cwd: folder })).toMatchObject({ ok: true });
  const back = await runJson<Converted>(['convert', 'oci-archive:-', 'oci:back:x'], {
    cwd: folder,
    input: out.stdout,
  });
  expect(back.exitCode, back.stderr).toBe(0);
  expect(back.document.digest).toBe(digest);
});

describe('an index', () => {
  beforeEach(async () => {
    await writeLayout(at('src'), tars, { platforms: [other, host] });
  });

  test('gives the host its own by default, as a manifest whose platform only its config says', async () => {
    const { manifests } = await convert('oci:src', 'oci:dst:a');
    expect(manifests.map(({ platform }) => platform)).toEqual([host]);
    const [named] = (await topIndex('dst')).manifests;
    expect(named!.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
    expect(named).not.toHaveProperty('platform');
    const inspected = await documentOf<Converted>(['inspect', 'oci:dst:a'], { cwd: folder });
    expect(inspected.manifests.map(({ platform }) => platform)).toEqual([host]);
    expect((await convert('oci:dst:a', 'oci:again:a', '--platform', host)).digest).toBe(named!.digest);
  });

  test.each([
    ['--platform', () => ['--platform', host, '--platform', other]],
    ['--all-platforms', () => ['--all-platforms']],
  ])('stays one with %s', async (_name, flags) => {
    const { digest, manifests } = await convert('oci:src', 'oci:dst:a', ...flags());
    expect(manifests.map(({ platform }) => platform).sort()).toEqual([host, other].sort());
    const index = await readBlob<Index>(at('dst'), digest);
    expect(index.manifests.map((manifest) => manifest.digest).sort()).toEqual(
      manifests.map((manifest) => manifest.digest).sort(),
    );
  });

  test('lacks what it lacks', async () => {
    const args = ['convert', 'oci:src', 'oci:dst:a', '--platform', 'linux/s390x'];
    const { exitCode, stderr } = await runCli(args, { cwd: folder });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: .*linux\/s390x.*\n$/);
    expect(await filesUnder(at('dst'))).toEqual([]);
  });
});

describe('failures', () => {
  test.each(['oci:nothing', 'oci:src:untagged', 'oci-archive:nothing.tar'])(
    '%s is exit 1 and leaves no destination',
    async (source) => {
      await writeLayout(at('src'), tars);
      const run = await runJson<{ error: { code: string } }>(['convert', source, 'oci:dst'], { cwd: folder });
      expect(run.exitCode, run.stderr).toBe(1);
      expect(run.document.error.code).toBe('NOT_FOUND');
      expect(await filesUnder(at('dst'))).toEqual([]);
    },
  );

  test('a layer that is not what its digest says is exit 3 and leaves nothing', async () => {
    const [digest] = await writeLayout(at('src'), [tars[0]!], { platforms: [host], compress: false });
    const file = blobPath(at('src'), digest!);
    const bytes = await readFile(file);
    bytes[bytes.length - 2000]! ^= 1;
    await writeFile(file, bytes);
    for (const destination of ['oci:dst:a', 'oci-archive:dst.tar']) {
      const run = await runJson<{ error: { code: string } }>(['convert', 'oci:src', destination], {
        cwd: folder,
      });
      expect(run.exitCode, run.stderr).toBe(3);
      expect(run.document.error.code).toBe('MISMATCH');
    }
    const left = (await filesUnder(folder)).filter((name) => !name.startsWith('src/'));
    expect(left.filter((name) => /blobs|tar$|\.tmp/.test(name))).toEqual([]);
    expect((await runCli(['inspect', 'oci:dst:a'], { cwd: folder })).exitCode).toBe(1);
  });

  test('an image that was there stays when its replacement fails', async () => {
    const [digest] = await writeLayout(at('src'), [tars[1]!], { platforms: [host] });
    const { digest: before } = await convert('oci:src', 'oci:dst:a');
    const file = blobPath(at('src'), digest!);
    await writeFile(file, (await readFile(file)).subarray(0, 50));
    expect((await runCli(['convert', 'oci:src', 'oci:dst:a'], { cwd: folder })).exitCode).toBe(3);
    expect((await topIndex('dst')).manifests.map((manifest) => manifest.digest)).toEqual([before]);
    expect(await documentOf(['verify', 'oci:dst:a'], { cwd: folder })).toMatchObject({ ok: true });
  });

  test('the last word of text mode is the summary', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    const { stdout, stderr } = await runCli(['convert', 'oci:src', 'oci:dst:a'], { cwd: folder });
    expect(stdout.toString()).toMatch(/^sha256:[0-9a-f]{64}\n2 layers: .+ in, .+ out .+ MB\/s, .+ s\n$/);
    expect(stderr).toBe('');
  });
});
