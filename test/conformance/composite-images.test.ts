import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { checkImage } from '../../src/image/check/check';
import { inspect, type ImageInspection } from '../../src/image/inspect';
import { listImage } from '../../src/image/list';
import { verifyImage } from '../../src/image/verify';
import type { ImageConfig, Manifest } from '../../src/oci/types';
import { refusal } from '../support/refusal';
import { tarBytes } from '../support/tar-bytes';
import { LayoutBuilder } from './support/image';

// The claim: images of profile "erofs-image-spec" convert whatever their layers' roles are, whoever built their layers, and whatever their
// config leaves out; and what the other profile can't say is refused.

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'composite-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const vectors = join(__dirname, '../../vectors');
const vector = (name: string): string => `oci:${join(vectors, 'layout')}:${name}`;
const named = JSON.parse(readFileSync(join(vectors, 'vectors.json'), 'utf8')) as {
  name: string;
  verdict: string;
}[];
const ref = (name: string): string => `oci:${join(folder, name)}:image`;
let made = 0;

async function convert(source: string, options: ConvertOptions) {
  const name = `converted-${++made}`;
  const { digest, manifests } = await convertImage(source, ref(name), options);
  return { name, reference: ref(name), digest, layers: manifests[0]!.layers };
}

const readJson = (name: string, digest: string): unknown =>
  JSON.parse(readFileSync(join(folder, name, 'blobs', ...digest.split(':')), 'utf8'));

const tree = (reference: string) => listImage(reference, '/', { recursive: true, allowUnverified: true });
const spec = { profile: 'erofs-image-spec' } as const;

const composite = named
  .filter(({ name, verdict }) => verdict === 'accept' && /^(device|data)/.test(name))
  .map(({ name }) => name);

describe.each(composite)('the composite image %s', (name) => {
  it('stays one, with devices as they are and a tree as it was', async () => {
    const before = await convert(vector(name), {});
    const after = await convert(before.reference, { ...spec, chunkSize: '8KiB', dmVerity: true });
    const devicesOf = async (reference: string) => {
      const { manifests } = (await inspect(reference)) as ImageInspection;
      const descriptors = manifests[0]!.layers.map(({ descriptor }) => descriptor);
      return descriptors.filter(({ annotations }) => annotations?.['org.erofs.role'] === 'device');
    };
    expect(await devicesOf(after.reference)).toEqual(await devicesOf(vector(name)));
    for (const { reference } of [before, after]) {
      expect(await verifyImage(reference)).toMatchObject({ ok: true });
      const withoutPlaces = (await tree(reference)).map((entry) => ({ ...entry, ino: 0 }));
      expect(withoutPlaces).toEqual((await tree(vector(name))).map((entry) => ({ ...entry, ino: 0 })));
    }
    const checked = await checkImage(vector(name), after.reference, { allowUnverified: true });
    expect(checked).toMatchObject({ ok: true, differences: [], notCompared: [] });
    expect((await convert(after.reference, {})).digest).toBe(after.digest);
  });

  it('can not become one of profile containerd, nor entries of a cache', async () => {
    const options = { profile: 'containerd' } as const;
    await expect(convert(vector(name), options)).rejects.toThrow(refusal('UNSUPPORTED', 'has the role'));
    const filling = convertImage(vector(name), `erofs-cache:${join(folder, 'cache')}`);
    await expect(filling).rejects.toThrow(refusal('UNSUPPORTED', 'has the role'));
    expect(readdirSync(folder)).not.toContain(`converted-${made}`);
  });
});

describe('from one profile to the other and back', () => {
  const tars = [
    [{ name: 'dir/', type: '5' }, { name: 'dir/a', content: 'a'.repeat(20_000) }, { name: '.wh.never' }],
    [{ name: 'dir/.wh.a' }, { name: 'dir/b', content: 'b'.repeat(5000) }],
  ].map((entries) => tarBytes(entries));

  it.each<[ConvertOptions, ConvertOptions]>([
    [{}, {}],
    [{ dmVerity: true }, {}],
    [
      { dmVerity: true, chunkSize: '8KiB' },
      { noCompress: true, index: 'standalone' },
    ],
    [{ chunkSize: '4KiB' }, { dmVerity: true }],
  ])('flags %j, by way of %j: the same blobs, to the byte', async (asked, between) => {
    const source = `tars-${++made}`;
    const builder = new LayoutBuilder(join(folder, source));
    builder.name(builder.image(tars.map((tar) => builder.tarLayer(tar))));
    const flags = { profile: 'containerd', dmVerity: false, ...asked } as const;
    const first = await convert(ref(source), flags);
    const there = await convert(first.reference, { ...spec, ...between });
    const back = await convert(there.reference, flags);
    expect(back.layers.map(({ digest }) => digest)).toEqual(first.layers.map(({ digest }) => digest));
    expect(back.digest).toBe(first.digest);
  });

  const ways: [ConvertOptions, ConvertOptions][] = [
    [{}, {}],
    [{ dmVerity: true, chunkSize: '8KiB' }, { chunkSize: '4KiB' }],
    [{ noCompress: true }, { dmVerity: true }],
    [{ index: 'standalone', dmVerity: true }, { dmVerity: true }],
    [{ chunking: 'files', chunkSize: '16KiB' }, {}],
  ];

  /** From the draft to the other profile and back by the same flags. */
  async function expectSameDraft(source: string, asked: ConvertOptions, between: ConvertOptions) {
    const flags = { ...spec, dmVerity: false, ...asked } as const;
    const first = await convert(source, flags);
    const there = await convert(first.reference, { profile: 'containerd', ...between });
    expect(there.layers.every(({ reused }) => !reused)).toBe(true);
    const back = await convert(there.reference, flags);
    expect(back.layers.map(({ digest }) => digest)).toEqual(first.layers.map(({ digest }) => digest));
    expect(back.digest).toBe(first.digest);
  }

  it.each(ways)('the draft by %j, by way of profile containerd by %j', async (asked, between) => {
    const source = `tars-${++made}`;
    const builder = new LayoutBuilder(join(folder, source));
    builder.name(builder.image(tars.map((tar) => builder.tarLayer(tar))));
    await expectSameDraft(ref(source), asked, between);
  });

  it.each(['overlay', 'lone-indexes', 'top-is-lower', 'no-rootfs', 'raw-512', 'zstd-no-index'])(
    'the draft as another writer has it, %s, by way of profile containerd',
    async (name) => {
      // What is as it was asked for stays as it is, so that it is made by this program first.
      const { reference } = await convert(vector(name), { profile: 'containerd' });
      for (const [asked, between] of ways) await expectSameDraft(reference, asked, between);
    },
  );
});

describe('a config that leaves DiffIDs to the layers', () => {
  it.each(['no-rootfs', 'no-diff-ids', 'annotation-wins'])(
    '%s: converts, and gets right ones',
    async (name) => {
      for (const options of [{}, spec, { profile: 'containerd' } as const]) {
        const { name: to, digest, reference, layers } = await convert(vector(name), options);
        const { config } = readJson(to, digest!) as Manifest;
        const { rootfs } = readJson(to, config.digest) as ImageConfig;
        expect(rootfs).toEqual({ type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) });
        expect(await verifyImage(reference)).toMatchObject({ ok: true });
        expect(await checkImage(vector(name), reference)).toMatchObject({ ok: true, differences: [] });
      }
    },
  );
});
