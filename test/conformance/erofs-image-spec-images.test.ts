import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { checkImage } from '../../src/image/check/check';
import { inspect, type ImageInspection } from '../../src/image/inspect';
import { listImage } from '../../src/image/list';
import { verifyImage } from '../../src/image/verify';
import { digestOf, LayoutBuilder } from './support/image';
import { walkErofs } from '../support/erofs-walker';
import { refusal } from '../support/refusal';
import { checkSpecLayout } from '../support/spec-checker';
import { writeSpecBlob, type SpecChoices } from '../support/spec-writer';
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';

/** Tars that the policy takes, and in which something may hide something. */
const vectors = join(__dirname, '../golden/tar');
const goldenTars = readdirSync(vectors).filter((name) => {
  if (!/^(wh|dup|hardlink|types|xattr|parent)-.*\.tar\.gz$/.test(name)) return false;
  const expected = join(vectors, 'expected', name.replace('.tar.gz', '.txt'));
  return !readFileSync(expected, 'utf8').startsWith('error: ');
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'convert-spec-'));
  makeImage('source', [bottom, middle, top]);
});
afterAll(() => rm(folder, { recursive: true }), 60_000);
const layout = (name: string): string => join(folder, name);
const ref = (name: string): string => `oci:${layout(name)}:image`;

const noise = (bytes: number, seed: string): string => {
  let [text, state] = ['', Buffer.from(seed)];
  while (text.length < bytes)
    text += (state = createHash('sha512').update(state).digest()).toString('latin1');
  return text.slice(0, bytes);
};
const directory = (name: string): TarEntryBytes => ({ name, type: '5', mode: 0o755 });
const bottom: TarEntryBytes[] = [
  directory('etc/'),
  { name: 'etc/hosts', content: 'localhost' },
  { name: 'etc/.wh.never', content: '' },
  { name: 'etc/same', type: '1', target: 'etc/hosts' },
  directory('old/'),
  { name: 'old/.wh..wh..opq' },
  { name: 'old/device', type: '3', device: [0, 0] },
  { name: 'old/file', content: noise(70_000, 'old') },
  { ...directory('marked/'), xattrs: { 'trusted.overlay.opaque': 'y', 'user.kept': '1' } },
  { name: '.wh..wh.aufs', content: 'x' },
];
const middle: TarEntryBytes[] = [
  { name: 'etc/.wh.hosts' },
  directory('old/'),
  { name: 'old/.wh..wh..opq' },
  { name: 'big', content: noise(300_001, 'big') },
  { name: 'link', type: '1', target: 'big' },
];
const top: TarEntryBytes[] = [{ name: 'hello', content: 'hello', xattrs: { 'user.k': 'v' } }];

function makeImage(name: string, layers: TarEntryBytes[][]): void {
  const builder = new LayoutBuilder(layout(name));
  const stored = layers.map((entries) => builder.tarLayer(tarBytes(entries)));
  const history = layers.flatMap((_, i) => [{ created_by: `layer ${i}` }, { empty_layer: true }]);
  builder.name(builder.image(stored, { config: { history } }));
}

const spec = { profile: 'erofs-image-spec', chunkSize: 64 << 10 } as const;
let made = 0;
async function convert(options: ConvertOptions, source = 'source') {
  const name = `made-${++made}`;
  const result = await convertImage(ref(source), ref(name), options);
  return { name, result };
}

const variants: ConvertOptions[] = [
  {},
  { dmVerity: true },
  { dmVerity: true, dmVerityHash: 'sha512', dmVerityBlockSize: 512 },
  { index: 'standalone' },
  { index: 'standalone', dmVerity: true },
  { noCompress: true },
  { noCompress: true, dmVerity: true },
  { noCompress: true, dmVerity: true, index: 'standalone' },
];

describe.each(variants)('an image converted with %o', (options) => {
  it('follows the rules of the specification, and every command reads it', async () => {
    const { name } = await convert({ ...spec, ...options });
    const { faults, layers } = checkSpecLayout(layout(name));
    expect(faults).toEqual([]);
    expect(layers.length).toBe(3);

    const verified = await verifyImage(ref(name));
    expect(verified).toMatchObject({ ok: true });
    const merkle = options.dmVerity === true ? 'ok' : 'absent';
    const isStandalone = options.index === 'standalone';
    expect(verified.layers.map((layer) => layer.merkle)).toEqual(
      // No index follows the top layer.
      layers.flatMap((_, i) => (isStandalone && i + 1 < layers.length ? [merkle, 'absent'] : [merkle])),
    );
    expect(await checkImage(ref('source'), ref(name))).toMatchObject({ ok: true, differences: [] });
    const listed = await listImage(ref(name), '/', { recursive: true });
    expect(listed.map(({ path }) => path)).toEqual(
      ['/', '/big', '/etc', '/etc/same', '/hello', '/link', '/marked', '/old'].sort(),
    );
    const { manifests } = (await inspect(ref(name))) as ImageInspection;
    const tables = manifests[0]!.layers.filter(({ table }) => table !== null);
    expect(tables.map(({ table, profile }) => [table!.hashAlgorithm, profile])).toEqual(
      Array(3).fill(['sha512', 'erofs-image-spec']),
    );
    // The top layer is smaller than a chunk, and then nothing tells how large that was to be.
    expect(tables.slice(0, 2).map(({ table }) => table!.chunkSize)).toEqual([64 << 10, 64 << 10]);
  });

  it('is what it was when it is converted again, and as a whole the same twice', async () => {
    const first = await convert({ ...spec, ...options });
    const again = await convert({ ...spec, ...options }, first.name);
    expect(again.result.digest).toBe(first.result.digest);
    expect(again.result.manifests[0]!.layers.every(({ reused }) => reused)).toBe(true);
    const same = await convert({}, first.name);
    expect(same.result.digest).toBe(first.result.digest);
    expect((await convert({ ...spec, ...options, threads: 5 })).result.digest).toBe(first.result.digest);
  });

  it('has the same EROFS images in the other profile, and back', async () => {
    const first = await convert({ ...spec, ...options });
    const there = await convert({ profile: 'containerd' }, first.name);
    const { manifests } = (await inspect(ref(there.name))) as ImageInspection;
    expect(manifests[0]!.layers.map(({ profile, dmverity }) => [profile, dmverity !== null])).toEqual(
      Array(3).fill(['containerd', options.dmVerity === true]),
    );
    expect(JSON.stringify(manifests[0]!.layers.map(({ descriptor }) => descriptor))).not.toContain(
      'org.erofs',
    );
    const back = await convert({ ...spec, ...options }, there.name);
    expect(back.result.digest).toBe(first.result.digest);
  });
});

describe('converting', () => {
  test('from profile containerd keeps the images, byte for byte', async () => {
    const first = await convert({ profile: 'containerd' });
    const { layers } = checkSpecLayout(layout((await convert({ ...spec }, first.name)).name));
    const diffIds = layers.map((data) => `sha256:${createHash('sha256').update(data).digest('hex')}`);
    expect(diffIds).toEqual(first.result.manifests[0]!.layers.map(({ diffId }) => diffId));
  });

  test('changes only the way the index is stored where only that is asked for', async () => {
    const first = await convert({ ...spec, dmVerity: true });
    const apart = await convert({ profile: 'erofs-image-spec', index: 'standalone' }, first.name);
    expect(checkSpecLayout(layout(apart.name)).faults).toEqual([]);
    const ids = (of: typeof first) => of.result.manifests[0]!.layers.map(({ diffId }) => diffId);
    expect((await verifyImage(ref(apart.name))).layers.filter(({ merkle }) => merkle === 'ok').length).toBe(
      3,
    );
    const joined = await convert({ ...spec, index: 'embedded', dmVerity: true }, apart.name);
    expect(ids(joined)).toEqual(ids(first));
    expect(joined.result.digest).toBe(first.result.digest);
  });

  test('drops whiteouts of the bottom layer only, and in the other profile none', async () => {
    const names = (data: Buffer): string[] =>
      walkErofs(data)
        .flatMap(({ paths }) => paths)
        .sort();
    const { layers } = checkSpecLayout(layout((await convert(spec)).name));
    expect(names(layers[0]!)).toEqual([
      '/',
      '/etc',
      '/etc/hosts',
      '/etc/same',
      '/marked',
      '/old',
      '/old/file',
    ]);
    expect(names(layers[1]!)).toEqual(['/', '/big', '/etc', '/etc/hosts', '/link', '/old']);
    const marked = walkErofs(layers[0]!).find(({ paths }) => paths[0] === '/marked')!;
    expect([...marked.xattrs]).toEqual([['user.kept', '1']]);

    makeImage('twice', [middle, middle]);
    const twice = await convert(spec, 'twice');
    expect(new Set(twice.result.manifests[0]!.layers.map(({ digest }) => digest)).size).toBe(2);
    expect(checkSpecLayout(layout(twice.name)).faults).toEqual([]);
    const kept = await convert({ profile: 'containerd' });
    expect(await checkImage(ref('source'), ref(kept.name))).toMatchObject({ ok: true });
  });

  test.each(goldenTars)('%s as the bottom layer: builder, oracle and rules agree', async (file) => {
    const name = `golden-${file}`;
    const builder = new LayoutBuilder(layout(name));
    builder.name(builder.image([builder.tarLayer(gunzipSync(readFileSync(join(vectors, file))))]));
    const converted = await convert(spec, name);
    expect(checkSpecLayout(layout(converted.name)).faults).toEqual([]);
    expect(await checkImage(ref(name), ref(converted.name))).toMatchObject({ ok: true, differences: [] });
  });

  test('gives the one layer of an image no role', async () => {
    makeImage('single', [top]);
    const { name } = await convert(spec, 'single');
    expect(checkSpecLayout(layout(name)).faults).toEqual([]);
  });
});

describe('images of another writer', () => {
  const tars = [bottom, top].map((entries, i) => {
    const plain = entries.filter(({ name, device, xattrs }) => !name.includes('.wh.') && !device && !xattrs);
    return tarBytes([...plain, { name: `of-layer-${i}` }]);
  });

  /** The image data of the layers as this package builds them: what the other writer wraps. */
  async function built(): Promise<Buffer[]> {
    const builder = new LayoutBuilder(layout('plain'));
    builder.name(builder.image(tars.map((tar) => builder.tarLayer(tar))));
    return checkSpecLayout(layout((await convert(spec, 'plain')).name)).layers;
  }

  const choices: SpecChoices[] = [
    {
      chunkSize: 8192,
      compression: 'zstd',
      index: 'embedded',
      verity: { algorithm: 'sha256', blockSize: 4096 },
    },
    {
      chunkSize: 65536,
      compression: 'zstd',
      index: 'standalone',
      verity: { algorithm: 'sha512', blockSize: 4096 },
    },
    {
      chunkSize: 5000,
      compression: 'none',
      index: 'embedded',
      verity: { algorithm: 'sha256', blockSize: 1024 },
    },
    { chunkSize: 4096, compression: 'none', index: 'standalone', verity: null },
  ];

  test.each(choices)('%o: are read, kept as they are, and converted', async (how) => {
    const name = `theirs-${++made}`;
    const data = await built();
    const builder = new LayoutBuilder(layout(name));
    const layers = data.flatMap((image, i) => {
      const isTop = i === data.length - 1;
      const own: SpecChoices = isTop ? { ...how, index: 'embedded' } : how;
      const { blob, annotations, diffId, index } = writeSpecBlob(image, own);
      const role = i === 0 ? { 'org.erofs.role': 'overlay-lower' } : {};
      const mediaType = how.compression === 'zstd' ? 'application/vnd.erofs+zstd' : 'application/vnd.erofs';
      const descriptor = { ...builder.put(mediaType, blob), annotations: { ...annotations, ...role } };
      if (own.index === 'embedded') return [{ descriptor, diffId }];
      const target = { 'org.erofs.chunk-index.target': descriptor.digest };
      const lone = { ...builder.put('application/vnd.erofs.chunk-index.v1', index), annotations: target };
      return [
        { descriptor, diffId },
        { descriptor: lone, diffId: lone.digest },
      ];
    });
    builder.name(builder.image(layers, { config: { 'os.features': ['erofs'] } }));
    expect(checkSpecLayout(layout(name)).faults).toEqual([]);

    expect((await verifyImage(ref(name))).layers.filter(({ merkle }) => merkle === 'ok').length).toBe(
      how.verity === null ? 0 : 2,
    );
    const names = (await listImage(ref(name), '/', {})).map(({ path }) => path);
    expect(names).toEqual(expect.arrayContaining(['/etc', '/of-layer-0', '/of-layer-1']));
    const same = await convert(
      { profile: 'erofs-image-spec', chunkSize: how.chunkSize - (how.chunkSize % 4096) || 4096 },
      name,
    );
    expect(same.result.manifests[0]!.layers.every(({ reused }) => reused)).toBe(how.chunkSize % 4096 === 0);
    const there = await convert({ profile: 'containerd', dmVerity: false }, name);
    const diffIds = there.result.manifests[0]!.layers.map(({ diffId }) => diffId);
    expect(diffIds).toEqual(data.map((image) => digestOf(image)));
  });
});

describe('the checker', () => {
  it('finds what is wrong', async () => {
    const { name } = await convert({ profile: 'containerd' });
    expect(checkSpecLayout(layout(name)).faults.length).toBeGreaterThan(5);
  });
});

describe('an index of its own', () => {
  it('is refused when it is damaged, for another layer, or for none', async () => {
    const { name } = await convert({ ...spec, index: 'standalone' });
    const { descriptor, manifest } = readManifest(name);
    const index = manifest.layers[1]!;
    const file = join(layout(name), 'blobs', ...index.digest.split(':'));
    const bytes = readFileSync(file);
    const bad = Buffer.from(bytes);
    bad[40]! ^= 1;
    writeFileSync(file, bad);
    const { ok, layers } = await verifyImage(ref(name));
    expect([ok, layers.filter(({ error }) => error !== undefined).length]).toEqual([false, 2]);
    await expect(convert(spec, name)).rejects.toThrow(refusal('MISMATCH', index.digest));
    await expect(listImage(ref(name), '/', {})).rejects.toThrow(refusal('MISMATCH', index.digest));
    writeFileSync(file, bytes);

    const reordered = [...manifest.layers];
    [reordered[1], reordered[3]] = [reordered[3]!, reordered[1]!];
    replaceManifest(name, descriptor, { ...manifest, layers: reordered });
    await expect(verifyImage(ref(name))).rejects.toThrow(refusal('MISMATCH', 'the layer before it'));
    [reordered[0], reordered[1]] = [index, manifest.layers[0]!];
    replaceManifest(name, descriptor, { ...manifest, layers: reordered });
    await expect(verifyImage(ref(name))).rejects.toThrow(refusal('CORRUPT', 'no layer right before it'));
  });

  it('leaves nothing behind when the conversion fails', async () => {
    const { name } = await convert({ ...spec, index: 'standalone' });
    const { manifest } = readManifest(name);
    const file = join(layout(name), 'blobs', ...manifest.layers[2]!.digest.split(':'));
    const bad = readFileSync(file);
    bad[1000]! ^= 1;
    writeFileSync(file, bad);
    await expect(convertImage(ref(name), ref('failed'), { profile: 'containerd' })).rejects.toThrow();
    expect(readdirSync(folder)).not.toContain('failed');
  });
});

interface Stored {
  mediaType: string;
  digest: string;
  size: number;
}

function readManifest(name: string): { descriptor: Stored; manifest: { layers: Stored[] } } {
  const index = JSON.parse(readFileSync(join(layout(name), 'index.json'), 'utf8')) as { manifests: Stored[] };
  const [descriptor] = index.manifests as [Stored];
  const bytes = readFileSync(join(layout(name), 'blobs', ...descriptor.digest.split(':')), 'utf8');
  return { descriptor, manifest: JSON.parse(bytes) as { layers: Stored[] } };
}

function replaceManifest(name: string, old: Stored, manifest: object): void {
  const builder = new LayoutBuilder(layout(name));
  builder.name({ ...old, ...builder.put(old.mediaType, manifest) });
}
