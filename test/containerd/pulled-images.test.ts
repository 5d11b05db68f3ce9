import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PulledImages, type WantedLayer } from '../../src/containerd/pulled-images';
import { digestOf } from '../../src/format/digest';
import { mediaTypes } from '../../src/format/media-types';
import { FakeRegistry, refuse } from '../support/fake-registry';
import { caught } from '../support/caught';

let registry: FakeRegistry;
let folder: string;
let warnings: string[];

beforeEach(async () => {
  registry = await FakeRegistry.start();
  folder = await mkdtemp(join(tmpdir(), 'pulled-'));
  warnings = [];
});
afterEach(async () => {
  await registry.stop();
  await rm(folder, { recursive: true });
});

const diffId = digestOf(Buffer.from('what the layer decodes to'));
const layer = digestOf(Buffer.from('layer'));

/** An image of one layer in the registry, and what containerd says of it. */
function push(mediaType: string): { wanted: WantedLayer; documents: Buffer[] } {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [diffId] } }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
      layers: [{ mediaType, digest: layer, size: 5 }],
    }),
  );
  registry.blobs.set(`team/app ${digestOf(config)}`, config);
  for (const name of ['one', digestOf(manifest)])
    registry.manifests.set(`team/app ${name}`, { mediaType: mediaTypes.ociManifest, bytes: manifest });
  const reference = `${registry.host}/team/app:one`;
  return {
    wanted: { reference, manifest: digestOf(manifest), diffId },
    documents: [manifest, config],
  };
}

async function copyToContent(documents: readonly Buffer[], damage = 0): Promise<void> {
  const blobs = join(folder, 'content', 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const bytes of documents) {
    const copy = Buffer.concat([bytes.subarray(0, bytes.length - damage), Buffer.alloc(damage, 32)]);
    await writeFile(join(blobs, digestOf(bytes).split(':')[1]!), copy);
  }
}

const images = () =>
  new PulledImages({
    content: join(folder, 'content'),
    documents: join(folder, 'documents'),
    onWarning: (line) => warnings.push(line),
  });

test('an image that containerd has the manifest and the config of is not asked for again', async () => {
  const { wanted, documents } = push(mediaTypes.containerdErofsZstd);
  await copyToContent(documents);
  const { layers } = await images().find(wanted);
  const image = `docker://${registry.host}/team/app@${wanted.manifest}`;
  expect(layers).toEqual([{ diffId, origin: { image, layer, diffId } }]);
  expect(registry.calls).toEqual([]);
  expect(await readdir(join(folder, 'documents'))).toHaveLength(2); // for the mount of its layer
});

test('copies that are damaged, or are not there, are read from the registry', async () => {
  const { wanted, documents } = push(mediaTypes.containerdErofsZstd);
  for (const damage of [0, 1]) {
    await rm(join(folder, 'documents'), { recursive: true, force: true });
    if (damage > 0) await copyToContent(documents, damage);
    expect((await images().find(wanted)).layers[0]!.origin).not.toBeNull();
    expect(registry.takeCalls().length).toBeGreaterThan(1);
  }
});

test('a layer counts only with the DiffID that the image has', async () => {
  const { wanted, documents } = push(mediaTypes.containerdErofsZstd);
  await copyToContent(documents);
  const error = await caught(() => images().find({ ...wanted, diffId: digestOf(Buffer.from('other')) }));
  expect(error).toMatchObject({ code: 'MISMATCH' });
});

test('an image of tars is unpacked, also when the registry does not say whether there is another form', async () => {
  const { wanted, documents } = push(mediaTypes.ociTarGzip);
  await copyToContent(documents);
  expect((await images().find(wanted)).layers).toEqual([{ diffId, origin: null }]);
  expect(warnings).toEqual([]);
  registry.misbehave = (_call, response) => {
    refuse(response, 403, 'DENIED');
    return true;
  };
  expect((await images().find(wanted)).layers).toEqual([{ diffId, origin: null }]);
  expect(warnings).toHaveLength(1);
});
