import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { archiveOf, classicArchive, layoutArchive, v1Archive } from '../store/docker/docker-archives';
import { documentOf, runCli, runJson } from './run-cli';
import { blobPath, filesUnder, makeTar, readBlob, sampleTar, sha256, writeLayout } from './sample';

interface Converted {
  digest: string | null;
  manifests: {
    platform: string;
    digest: string;
    layers: { source: string; digest: string | null; size: number; diffId: string; reused: boolean }[];
  }[];
}

interface Index {
  manifests: { digest: string; platform?: { architecture: string; 'os.features'?: string[] } }[];
}

const host = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
const other = host === 'linux/arm64' ? 'linux/amd64' : 'linux/arm64';

let root: string;
let folder: string;
let tars: Buffer[];
let number = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'whole-images-'));
  tars = [await sampleTar(), await makeTar([{ name: 'etc/motd', content: 'hello\n' }])];
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(async () => {
  folder = join(root, `${number++}`);
  await mkdir(folder);
});

const at = (name: string): string => join(folder, name);
const convert = (source: string, destination: string, ...flags: string[]): Promise<Converted> =>
  documentOf<Converted>(['convert', source, destination, ...flags], { cwd: folder });
const layersOf = ({ manifests }: Converted) => manifests.flatMap(({ layers }) => layers);
const indexOf = async (dir: string, digest: string | null): Promise<Index> =>
  readBlob<Index>(at(dir), digest!);

/** Everything in a folder, by path, as bytes. */
async function contentOf(dir: string): Promise<Record<string, string>> {
  const files = await filesUnder(at(dir));
  const digests = files.map(async (path) => [path, sha256(await readFile(join(at(dir), path)))] as const);
  return Object.fromEntries(await Promise.all(digests));
}

describe('an image of docker save', () => {
  test.each([
    ['of today', () => layoutArchive(tars, ['app:v1'])],
    ['of yesterday', () => classicArchive(tars, ['app:v1'], { gzip: true })],
    ['of long ago', () => v1Archive(tars, ['app:v1'])],
  ])('%s converts to the same layers as any other', async (_when, members) => {
    await writeFile(at('saved.tar'), await archiveOf(members()));
    await writeLayout(at('src'), tars, { platforms: [host] });
    const saved = await convert('docker-archive:saved.tar:app:v1', 'oci:dst:a');
    const plain = await convert('oci:src', 'oci:dst:b');
    expect(layersOf(saved).map(({ digest }) => digest)).toEqual(layersOf(plain).map(({ digest }) => digest));
    const checked = await documentOf<{ ok: boolean }>(['check', 'docker-archive:saved.tar', 'oci:dst:a'], {
      cwd: folder,
    });
    expect(checked.ok).toBe(true);
  });

  test('with a layer that is not what its config says is exit 3 and leaves nothing', async () => {
    const members = classicArchive(tars, ['app:v1']);
    const path = Object.keys(members).find((name) => name.endsWith('layer.tar'))!;
    await writeFile(at('saved.tar'), await archiveOf({ ...members, [path]: tars[1]! }));
    const run = await runCli(['convert', 'docker-archive:saved.tar', 'oci:dst:a'], { cwd: folder });
    expect([run.exitCode, await filesUnder(folder)]).toEqual([3, ['saved.tar']]);
  });
});

describe("containerd's layer content cache", () => {
  const entryOf = (diffId: string): string => {
    const hex = diffId.slice('sha256:'.length);
    return join('sha256', hex.slice(0, 2), `${hex}.erofs`);
  };

  test('has a raw image for each layer by its DiffID', async () => {
    const sources = await writeLayout(at('src'), tars, { platforms: [host] });
    const document = await convert('oci:src', 'erofs-cache:cache');
    expect(document.digest).toBeNull();
    expect(await filesUnder(at('cache'))).toEqual(tars.map((tar) => entryOf(sha256(tar))).sort());
    for (const [i, tar] of tars.entries()) {
      await writeFile(at('layer.tar'), tar);
      const built = await documentOf<{ size: number }>(['build', 'layer.tar', 'layer.erofs'], {
        cwd: folder,
      });
      const entry = at(join('cache', entryOf(sha256(tar))));
      expect(await readFile(entry)).toEqual(await readFile(at('layer.erofs')));
      expect(layersOf(document)[i]).toEqual({
        source: sources[i]!,
        digest: null,
        diffId: sha256(tar),
        reused: false,
        size: built.size,
        uncompressedSize: built.size,
      });
    }
  });

  test('has a device for dm-verity, and its sidecar, that veritysetup accepts', async () => {
    await writeLayout(at('src'), tars, { platforms: [host], compress: false });
    await convert('oci:src', 'erofs-cache:cache', '--dm-verity');
    for (const tar of tars) {
      const entry = at(join('cache', entryOf(sha256(tar))));
      const sidecar = JSON.parse(await readFile(`${entry}.dmverity`, 'utf8')) as {
        roothash: string;
        hashoffset: number;
      };
      const verify = ['verify', entry, entry, sidecar.roothash, `--hash-offset=${sidecar.hashoffset}`];
      execFileSync('veritysetup', verify, { stdio: 'pipe' });
      const damaged = Buffer.from(await readFile(entry));
      damaged[2000]! ^= 1;
      await writeFile(at('damaged'), damaged);
      expect(() => execFileSync('veritysetup', verify.with(1, at('damaged')), { stdio: 'pipe' })).toThrow();
      // Whoever runs containerd must be able to read it.
      expect((await stat(entry)).mode).toBe((await stat(at('damaged'))).mode);
    }
  });

  test('keeps the entries that it has, and makes those anew that lack the sidecar asked for', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    await convert('oci:src', 'erofs-cache:cache');
    const before = await contentOf('cache');
    const again = await convert('oci:src', 'erofs-cache:cache');
    expect(layersOf(again).map(({ reused }) => reused)).toEqual([true, true]);
    expect(await contentOf('cache')).toEqual(before);
    const verity = await convert('oci:src', 'erofs-cache:cache', '--dm-verity');
    expect(layersOf(verity).map(({ reused }) => reused)).toEqual([false, false]);
    expect(Object.keys(await contentOf('cache'))).toHaveLength(4);
    const last = await convert('oci:src', 'erofs-cache:cache', '--dm-verity');
    expect(layersOf(last).map(({ reused }) => reused)).toEqual([true, true]);
  });

  test('is filled from a converted image too', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    const converted = await convert('oci:src', 'oci:dst:a', '--dm-verity');
    await convert('oci:dst:a', 'erofs-cache:cache');
    for (const { diffId } of layersOf(converted)) {
      expect(sha256(await readFile(at(join('cache', entryOf(diffId)))))).toBe(diffId);
    }
  });

  test('has nothing of an image with a wrong layer', async () => {
    const [, second] = await writeLayout(at('src'), tars, { platforms: [host] });
    await writeFile(
      blobPath(at('src'), second!),
      gzipSync(tars[0]!).subarray(0, (await stat(blobPath(at('src'), second!))).size),
    );
    const before = await filesUnder(folder);
    const run = await runJson(['convert', 'oci:src', 'erofs-cache:cache'], { cwd: folder });
    expect([run.exitCode, await filesUnder(folder)]).toEqual([3, before]);
    const usage = await runCli(['convert', 'oci:src', 'erofs-cache:cache', '--append-to-index'], {
      cwd: folder,
    });
    expect(usage.exitCode).toBe(2);
  });
});

describe('--append-to-index', () => {
  test('keeps the image, with its blobs, and adds what it became; again it changes nothing', async () => {
    const sources = await writeLayout(at('src'), tars, { platforms: [host] });
    const first = await convert('oci:src', 'oci:dst:app', '--append-to-index');
    const { manifests } = await indexOf('dst', first.digest);
    expect(manifests.map(({ platform }) => platform?.['os.features'] ?? [])).toEqual([[], ['erofs']]);
    const tarManifest = await readBlob<{ layers: { digest: string }[] }>(at('dst'), manifests[0]!.digest);
    expect(tarManifest.layers.map(({ digest }) => digest)).toEqual(sources);
    for (const digest of sources) expect(sha256(await readFile(blobPath(at('dst'), digest)))).toBe(digest);
    expect(manifests[1]!.digest).toBe(first.manifests[0]!.digest);
    const before = await contentOf('dst');
    expect((await convert('oci:src', 'oci:dst:app', '--append-to-index')).digest).toBe(first.digest);
    expect((await convert('oci:dst:app', 'oci:dst:app', '--append-to-index')).digest).toBe(first.digest);
    expect(await contentOf('dst')).toEqual(before);
    const verified = await documentOf<{ ok: boolean; layers: unknown[] }>(['verify', 'oci:dst:app'], {
      cwd: folder,
    });
    expect([verified.ok, verified.layers.length]).toEqual([true, 4]);
  });

  test('adds one platform after the other to an index', async () => {
    await writeLayout(at('src'), tars, { platforms: [host, other] });
    await convert('oci:src', 'oci:dst:app', '--append-to-index');
    const both = await convert('oci:src', 'oci:dst:app', '--append-to-index', '--platform', other);
    const { manifests } = await indexOf('dst', both.digest);
    const wanted = [host, host, other, other].map((platform) => platform.split('/')[1]);
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(wanted);
    const all = await convert('oci:src', 'oci:dst:all', '--append-to-index', '--all-platforms');
    expect((await indexOf('dst', all.digest)).manifests).toEqual(manifests);
  });
});

describe('a converted image, converted again', () => {
  test.each([[[]], [['--all-platforms']]])('stays as it is, to the byte (%s)', async (flags) => {
    await writeLayout(at('src'), tars, { platforms: [host, other] });
    const once = await convert('oci:src', 'oci:dst:app', '--dm-verity', ...flags);
    const before = await contentOf('dst');
    const twice = await convert('oci:dst:app', 'oci:dst:app', ...flags);
    expect(twice.digest).toBe(once.digest);
    expect(layersOf(twice).every(({ reused }) => reused)).toBe(true);
    expect(await contentOf('dst')).toEqual(before);
  });

  test('keeps JSON that another program wrote otherwise', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    const once = await convert('oci:src', 'oci:mid:app');
    const text = await readFile(blobPath(at('mid'), once.digest!), 'utf8');
    const pretty = Buffer.from(JSON.stringify(JSON.parse(text), null, 3));
    await writeFile(blobPath(at('mid'), sha256(pretty)), pretty);
    const index = JSON.parse(await readFile(join(at('mid'), 'index.json'), 'utf8')) as {
      manifests: { digest: string; size: number }[];
    };
    Object.assign(index.manifests[0]!, { digest: sha256(pretty), size: pretty.length });
    await writeFile(join(at('mid'), 'index.json'), JSON.stringify(index));
    expect((await convert('oci:mid', 'oci:dst:app')).digest).toBe(sha256(pretty));
  });
});

describe('--cache', () => {
  const reused = (document: Converted): boolean[] => layersOf(document).map((layer) => layer.reused);

  test('keeps converted layers for later runs', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    const first = await convert('oci:src', 'oci:one:app', '--cache', 'cache');
    expect(reused(first)).toEqual([false, false]);
    for (const digest of layersOf(first).map(({ source }) => source)) {
      // What is in the cache is not even read.
      await rm(blobPath(at('src'), digest));
    }
    const second = await convert('oci:src', 'oci-archive:two.tar', '--cache', 'cache');
    expect(second.digest).toBe(first.digest);
    expect(reused(second)).toEqual([true, true]);
    const verified = await documentOf<{ ok: boolean }>(['verify', 'oci-archive:two.tar'], { cwd: folder });
    expect(verified.ok).toBe(true);
  });

  test('is asked for the same settings only', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    await convert('oci:src', 'oci:dst:a', '--cache', 'cache');
    expect(reused(await convert('oci:src', 'oci:dst:b', '--cache', 'cache', '--level', '1'))).toEqual([
      false,
      false,
    ]);
    expect(reused(await convert('oci:src', 'oci:dst:c', '--cache', 'cache', '--dm-verity'))).toEqual([
      false,
      false,
    ]);
    expect(reused(await convert('oci:src', 'oci:dst:d', '--cache', 'cache', '--threads', '1'))).toEqual([
      true,
      true,
    ]);
  });

  test.each(['blob', 'layer.json'])(
    'makes a layer anew whose %s is damaged, and keeps that',
    async (name) => {
      await writeLayout(at('src'), tars, { platforms: [host] });
      const first = await convert('oci:src', 'oci:dst:a', '--cache', 'cache');
      const damaged = (await filesUnder(at('cache'))).find((path) => path.endsWith(`/${name}`))!;
      const bytes = await readFile(join(at('cache'), damaged));
      bytes[bytes.length >> 1]! ^= 1;
      if (name === 'layer.json') bytes[0]! ^= 1;
      await writeFile(join(at('cache'), damaged), bytes);
      const second = await convert('oci:src', 'oci:other:a', '--cache', 'cache');
      expect(second.digest).toBe(first.digest);
      expect(reused(second).sort()).toEqual([false, true]);
      expect(reused(await convert('oci:src', 'oci:third:a', '--cache', 'cache'))).toEqual([true, true]);
    },
  );

  test('is shared by runs at the same time', async () => {
    await writeLayout(at('src'), tars, { platforms: [host] });
    const runs = ['a', 'b', 'c'].map((name) => convert('oci:src', `oci:${name}:app`, '--cache', 'cache'));
    const digests = (await Promise.all(runs)).map(({ digest }) => digest);
    expect(new Set(digests).size).toBe(1);
    const files = await filesUnder(at('cache'));
    expect(files.map((path) => path.replace(/.*\//, '')).sort()).toEqual([
      'blob',
      'blob',
      'layer.json',
      'layer.json',
    ]);
  });
});
