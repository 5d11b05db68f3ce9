import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { omit } from '../../src/oci/json';
import { LayoutBuilder, type Descriptor, type Layer } from '../conformance/support/image';
import { checkCleanLayout, checkLayout } from '../conformance/support/layout-check';
import { makeTar, sampleTar } from '../e2e/sample';
import { caught } from '../support/caught';

// Layers of a non-distributable type: converted like any other, or carried over with --keep-foreign; never dropped.

const foreignType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const urls = ['https://example.invalid/layer'];

let folder: string;
let builder: LayoutBuilder;
let foreign: Layer;
let own: Layer;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'foreign-'));
  builder = new LayoutBuilder(join(folder, 'source'));
  foreign = builder.tarLayer(await sampleTar(), foreignType);
  foreign.descriptor = { ...foreign.descriptor, urls };
  own = builder.tarLayer(await makeTar([{ name: 'own', content: 'x' }]));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);
const blobOf = (layout: string, digest: string): string => at(`${layout}/blobs/sha256/${digest.slice(7)}`);
const convert = (options: ConvertOptions = {}, destination = `oci:${at('dst')}:a`) =>
  convertImage(`oci:${at('source')}`, destination, options);

interface Document {
  layers: Descriptor[];
  config: Descriptor;
  manifests: Descriptor[];
}
const read = (digest: string | null): Document =>
  JSON.parse(readFileSync(blobOf('dst', digest!), 'utf8')) as Document;

/** Takes the foreign layer's blob out of the source. */
function removeBlob(): void {
  rmSync(blobOf('source', foreign.descriptor.digest));
}

test('a non-distributable layer is converted like any other', async () => {
  builder.name(builder.image([foreign, own]));
  const { digest, manifests } = await convert();
  const [first] = read(digest).layers;
  expect(first!.mediaType).toBe('application/vnd.erofs.layer.v1+zstd');
  expect(first).not.toHaveProperty('urls');
  expect(manifests[0]!.layers[0]).toMatchObject({ source: foreign.descriptor.digest, reused: false });
  checkCleanLayout(at('dst'));
});

test.each<ConvertOptions>([{}, { cache: 'cache' }])(
  'without its blob it fails, with a hint: %j',
  async (options) => {
    builder.name(builder.image([foreign, own]));
    removeBlob();
    const cache = options.cache === undefined ? {} : { cache: at('cache') };
    const error = await caught(() => convert(cache));
    expect(error).toMatchObject({
      code: 'NOT_FOUND',
      what: `layer ${foreign.descriptor.digest}`,
      why: expect.stringMatching(/non-distributable.*only its url/) as string,
      hint: expect.stringContaining('--keep-foreign') as string,
    });
    expect(existsSync(at('dst'))).toBe(false);
  },
);

test('keepForeign carries descriptor, urls and blob over', async () => {
  builder.name(builder.image([foreign, own]));
  const { digest, manifests } = await convert({ keepForeign: true });
  const [first, second] = read(digest).layers;
  expect(first).toEqual(foreign.descriptor);
  expect(second!.mediaType).toBe('application/vnd.erofs.layer.v1+zstd');
  expect(manifests[0]!.layers[0]).toMatchObject({ digest: foreign.descriptor.digest, reused: true });
  const stored = readFileSync(blobOf('dst', foreign.descriptor.digest));
  expect(stored).toEqual(readFileSync(blobOf('source', foreign.descriptor.digest)));
  checkCleanLayout(at('dst'));
});

test('keepForeign checks the blob against its digest', async () => {
  builder.name(
    builder.image([
      {
        ...foreign,
        descriptor: { ...own.descriptor, mediaType: foreignType, digest: foreign.descriptor.digest },
      },
    ]),
  );
  expect((await caught(() => convert({ keepForeign: true }))).code).toBe('MISMATCH');
});

test('keepForeign without the blob: the urls alone with a warning, without urls a failure', async () => {
  builder.name(builder.image([foreign, own]));
  removeBlob();
  const warnings: string[] = [];
  const onWarning = (line: string): void => void warnings.push(line);
  const { digest } = await convert({ keepForeign: true, onWarning });
  expect(read(digest).layers[0]).toEqual(foreign.descriptor);
  expect(warnings).toEqual([expect.stringContaining(foreign.descriptor.digest)]);
  const bare = omit(foreign.descriptor, 'urls');
  builder.name(builder.image([{ ...foreign, descriptor: bare }, own]));
  const error = await caught(() => convert({ keepForeign: true }));
  expect(error).toMatchObject({ code: 'NOT_FOUND', why: expect.stringContaining('no urls') as string });
});

test('keepForeign is for profile containerd, and for images', async () => {
  builder.name(builder.image([foreign, own]));
  const spec: ConvertOptions = { keepForeign: true, profile: 'erofs-image-spec' };
  expect((await caught(() => convert(spec))).code).toBe('USAGE');
  expect((await caught(() => convert({ keepForeign: true }, `erofs-cache:${at('cache')}`))).code).toBe(
    'USAGE',
  );
});

test('a layer of the draft specification is not taken beside it', async () => {
  builder.name(builder.image([own]));
  await convertImage(`oci:${at('source')}`, `oci:${at('source')}:spec`, { profile: 'erofs-image-spec' });
  const spec = await convertImage(`oci:${at('source')}:spec`, `oci:${at('dst')}:spec`);
  const [layer] = read(spec.digest).layers;
  const { diffId } = spec.manifests[0]!.layers[0]!;
  builder.put(layer!.mediaType, readFileSync(blobOf('dst', layer!.digest)));
  builder.name(builder.image([{ descriptor: layer!, diffId }, foreign]), 'mixed');
  const mixed = `oci:${at('source')}:mixed`;
  const error = await caught(() => convertImage(mixed, `oci:${at('dst')}:b`, { keepForeign: true }));
  expect(error).toMatchObject({ code: 'CORRUPT', why: expect.stringContaining('"mixed-layers"') as string });
});

test.each([false, true])(
  'an appended index has the blob of the tar as well, converted before: %j',
  async (before) => {
    builder.name(builder.image([foreign, own]));
    if (before) await convert({ cache: at('cache') }, `oci:${at('other')}:a`);
    const { digest } = await convert({ appendToIndex: true, ...(before && { cache: at('cache') }) });
    const [tar] = read(digest).manifests;
    expect(read(tar!.digest).layers[0]).toEqual(foreign.descriptor);
    expect(checkLayout(at('dst')).reached).toContain(foreign.descriptor.digest);
  },
);

test('a layer content cache has an entry for it', async () => {
  builder.name(builder.image([foreign, own]));
  const { manifests } = await convert({}, `erofs-cache:${at('cache')}`);
  expect(manifests[0]!.layers.map(({ diffId }) => diffId)).toEqual([foreign.diffId, own.diffId]);
  removeBlob();
  const error = await caught(() => convert({}, `erofs-cache:${at('other')}`));
  expect(error).toMatchObject({
    code: 'NOT_FOUND',
    why: expect.stringContaining('non-distributable') as string,
  });
});
