import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { inspect, type ImageInspection } from '../../src/image/inspect';
import { noise } from '../e2e/sample';
import { digestOf, home, registry, types, useRegistry } from '../store/registry/sample';
import { tarBytes } from '../support/tar-bytes';

useRegistry();

const size = 3_000_000;

/** Puts an image of one layer, of which a file of noise takes nearly all. */
function putImage(): void {
  const tar = tarBytes([{ name: 'noise', content: noise(size, 'inspect').toString('latin1') }]);
  const blob = gzipSync(tar);
  const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
  const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
  const config = Buffer.from(JSON.stringify({ ...platform, rootfs }));
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: registry.putBlob('team/app', bytes),
    size: bytes.length,
  });
  registry.putManifest('team/app', 'tar', types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: describe(types.config, config),
    layers: [describe(`${types.layer}+gzip`, blob)],
  });
}

/** Inspects an image; bytes of layers that the registry sent, too. Without a range it is all of them. */
async function inspectCounted(ref: string): Promise<{ found: ImageInspection; bytes: number }> {
  registry.calls.length = 0;
  const found = (await inspect(ref, { tmpDir: home, measure: true })) as ImageInspection;
  const layers = found.manifests.flatMap((manifest) => manifest.layers.map(({ descriptor }) => descriptor));
  let bytes = 0;
  for (const { method, path, headers } of registry.calls) {
    const layer = layers.find(({ digest }) => path.endsWith(`/blobs/${digest}`));
    if (method !== 'GET' || layer === undefined) continue;
    const [, first = '0', last = ''] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    bytes += (last === '' ? layer.size - 1 : Number(last)) - Number(first) + 1;
  }
  return { found, bytes };
}

test.each<{ profile: 'containerd' | 'erofs-image-spec'; index?: 'standalone' }>([
  { profile: 'containerd' },
  { profile: 'erofs-image-spec' },
  { profile: 'erofs-image-spec', index: 'standalone' },
])('of a seekable layer in a registry only the table and metadata are fetched: %o', async (asked) => {
  putImage();
  const [tar, erofs] = ['tar', 'erofs'].map((tag) => `docker://${registry.host}/team/app:${tag}`);
  const settings = { ...asked, dmVerity: true, chunkSize: 65_536 };
  await convertImage(tar!, erofs!, { ...settings, tmpDir: home });
  await convertImage(erofs!, `oci:${join(home, 'local')}`, { tmpDir: home });

  const { found, bytes } = await inspectCounted(erofs!);
  expect(found.manifests[0]!.layers[0]!.dmverity).not.toBeNull();
  expect(found.manifests[0]!.layers[0]!.tree!.map(({ path }) => path)).toEqual(['/', '/noise']);
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThan(size / 10);
  const local = (await inspect(`oci:${join(home, 'local')}`, { measure: true })) as ImageInspection;
  expect(found.manifests).toEqual(local.manifests);
});

test('a tar in a registry is only looked at', async () => {
  putImage();
  const { found, bytes } = await inspectCounted(`docker://${registry.host}/team/app:tar`);
  expect(found.manifests[0]!.layers[0]).toMatchObject({ profile: null, table: null, tree: null });
  expect(bytes).toBeLessThan(4096);
});

test('a raw image in a registry is fetched whole, and refused when it is not what its digest says', async () => {
  putImage();
  const [tar, erofs] = ['tar', 'erofs'].map((tag) => `docker://${registry.host}/team/app:${tag}`);
  await convertImage(tar!, erofs!, { profile: 'erofs-image-spec', noCompress: true, tmpDir: home });
  const manifest = [...registry.manifests].find(([key]) => key === 'team/app erofs')![1];
  const document = JSON.parse(manifest.bytes.toString()) as {
    layers: { digest: string; annotations?: object }[];
  };
  for (const layer of document.layers) delete layer.annotations;
  registry.putManifest('team/app', 'raw', types.manifest, document);
  const raw = `docker://${registry.host}/team/app:raw`;
  const { found, bytes } = await inspectCounted(raw);
  const { tree, table, size: whole } = found.manifests[0]!.layers[0]!;
  expect({ table, paths: tree!.map(({ path }) => path) }).toEqual({ table: null, paths: ['/', '/noise'] });
  expect(bytes).toBeGreaterThanOrEqual(whole);

  const key = `team/app ${document.layers[0]!.digest}`;
  const changed = Buffer.from(registry.blobs.get(key)!);
  changed[changed.length - 1]! ^= 1;
  registry.blobs.set(key, changed);
  await expect(inspect(raw, { tmpDir: home, retry: { attempts: 1 } })).rejects.toMatchObject({
    code: 'MISMATCH',
  });
});
