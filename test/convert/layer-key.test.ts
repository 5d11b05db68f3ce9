import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { layerKey } from '../../src/convert/layer-key';
import type { LayerOptions } from '../../src/convert/run';
import { openErofs } from '../../src/erofs/filesystem';
import type { ImageLayer } from '../../src/image/image-layers';
import { settingsOf, type EncodeOptions } from '../../src/layer/encode';
import { openBlob } from '../../src/layer/open-blob';
import { LayoutBuilder } from '../conformance/support/image';
import { blobPath, readBlob, writeLayout } from '../e2e/sample';
import { tarBytes } from '../support/tar-bytes';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const entry = (digit: string) => ({
  descriptor: { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digest(digit), size: 1 },
  diffId: digest('d'),
});
const layer: ImageLayer = { ...entry('a'), index: null };

/** The key of a layer, with options of its own or other properties. */
function key(options: LayerOptions = {}, changes: Partial<ImageLayer> = {}): string {
  return layerKey({ settings: settingsOf(options), options }, { ...layer, ...changes });
}

describe('the key of a layer', () => {
  const { descriptor } = layer;
  const spec = { profile: 'erofs-image-spec' } as const;

  test.each<[string, LayerOptions, Partial<ImageLayer>]>([
    ['its digest', {}, { descriptor: { ...descriptor, digest: digest('b') } }],
    ['its media type', {}, { descriptor: { ...descriptor, mediaType: `${descriptor.mediaType}+gzip` } }],
    ['its annotations', {}, { descriptor: { ...descriptor, annotations: { note: 'x' } } }],
    ['its DiffID', {}, { diffId: digest('e') }],
    ['its lone index', {}, { index: entry('c') }],
    ['being the bottom layer', { bottomLayer: true }, {}],
    ['the profile', spec, {}],
    ['a profile that is given, if only the default', { profile: 'containerd' }, {}],
    ['the chunk size', { chunkSize: '64KiB' }, {}],
    ['the level', { level: 9 }, {}],
    ['dm-verity', { dmVerity: true }, {}],
    ['mkfs.erofs', { mkfs: '' }, {}],
    ['a device that it becomes', { deviceTag: 'aa' }, {}],
  ])('depends on %s', (_, options, changes) => {
    expect(key(options, changes)).not.toBe(key());
  });

  test.each<[string, EncodeOptions, EncodeOptions]>([
    ['block size of dm-verity', { dmVerity: true, dmVerityBlockSize: 1024 }, { dmVerity: true }],
    ['hash of dm-verity', { ...spec, dmVerity: true, dmVerityHash: 'sha512' }, { ...spec, dmVerity: true }],
    ['compression', { ...spec, noCompress: true }, spec],
    ['place of the index', { ...spec, index: 'standalone' }, spec],
    ['chunking by files', { ...spec, chunking: 'files' }, spec],
    ['chunking that is given, if only the default', { ...spec, chunking: 'fixed' }, spec],
    ['words of mkfs.erofs', { mkfs: '-zlz4' }, { mkfs: '' }],
    ['tar index', { mkfsTarIndex: true }, { mkfs: '' }],
  ])('depends on the %s', (_, one, other) => {
    expect(key(one)).not.toBe(key(other));
  });

  test('does not depend on the order of annotations', () => {
    const of = (annotations: Record<string, string>) =>
      key({}, { descriptor: { ...descriptor, annotations } });
    expect(of({ a: '1', b: '2' })).toBe(of({ b: '2', a: '1' }));
    expect(of({ a: '1', b: '2' })).not.toBe(of({ a: '2', b: '1' }));
  });
});

describe('layers that differ in little', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'layer-key-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  interface Manifest {
    layers: { digest: string; size: number; annotations: Record<string, string> }[];
  }
  async function convertedLayers(source: string, options: ConvertOptions) {
    const target = join(folder, `${(await readdir(folder)).length}`);
    const { manifests } = await convertImage(`oci:${join(folder, source)}`, `oci:${target}:new`, options);
    const { layers } = await readBlob<Manifest>(target, manifests[0]!.digest);
    return { target, layers };
  }

  test('a whiteout stays where the same layer lies above another one, and goes at the bottom', async () => {
    const tar = tarBytes([{ name: 'kept', content: 'kept' }, { name: '.wh.gone' }]);
    await writeLayout(join(folder, 'twice'), [tar, tar], { compress: false });
    for (const cache of [undefined, join(folder, 'cache'), join(folder, 'cache')]) {
      const { target, layers } = await convertedLayers('twice', { profile: 'erofs-image-spec', cache });
      const names = await Promise.all(layers.map((descriptor) => namesOf(target, descriptor)));
      expect(names).toEqual([['kept'], ['gone', 'kept']]);
    }
  });

  async function namesOf(target: string, descriptor: Manifest['layers'][number]): Promise<string[]> {
    const blob = await openBlob(blobPath(target, descriptor.digest), { descriptor });
    const filesystem = await openErofs(blob);
    const names = (await filesystem.readdir('/')).map(({ name }) => name.toString());
    await blob.close();
    return names;
  }

  test('annotations do not come from an image that the cache has seen with the same layer', async () => {
    const cache = join(folder, 'notes');
    for (const note of ['one', 'two']) {
      const builder = new LayoutBuilder(join(folder, note));
      const { descriptor, diffId } = builder.tarLayer(tarBytes([{ name: 'noted', content: 'noted' }]));
      builder.name(builder.image([{ descriptor: { ...descriptor, annotations: { note } }, diffId }]));
      const { layers } = await convertedLayers(note, { cache });
      expect(layers[0]!.annotations).toMatchObject({ note });
    }
  });
});
