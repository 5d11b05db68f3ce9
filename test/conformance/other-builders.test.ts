import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import type { ImageInspection } from '../../src/image/inspect';
import { at } from '../e2e/workspace';
import { digestOf, LayoutBuilder } from './support/image';
import { titleOf, whyNoMounts } from './support/machine';
import { library, root, state, useMounts, walk } from './support/mounting';

// The claim: raw EROFS layers of other builders, of any size of blocks and compressed inside in any way, get an index, checksums, a dm-verity tree and
// zstd, and keep their file systems to the byte; the kernel shows of them what it shows of the layer as it was.

const { convertImage, verifyImage, inspect, checkImage, listImage, readImageFile, decodeBlob } = library;
const { mountImage, unmountImage } = library;

useMounts();

const golden = join(root, 'test/golden');
const sizes = [512, 1024, 2048, 4096];
const everySize = ['plain', 'chunks', 'lz4', 'lzma', 'deflate', 'zstd'];
const someSizes = [
  'lz4hc',
  'lz4-big',
  'lz4-fragments',
  'lz4hc-tails',
  'zstd-dedupe',
  'deflate-all-fragments',
];
const blockSizes = [
  ...everySize.flatMap((name) => sizes.map((size) => `erofs-block-sizes/${name}-${size}`)),
  ...someSizes.flatMap((name) => [1024, 2048].map((size) => `erofs-block-sizes/${name}-${size}`)),
];
/** Written by apko. */
const apko = 'erofs-apko/layer';
/** Of other trees, with what the small one has not: shared xattrs, holes, 48-bit addresses, metadata in front. */
const larger = [
  ...['lz4-48bit-dedupe', 'zstd-all-fragments', 'two-algorithms'].map((name) => `erofs-compressed/${name}`),
  ...['tar-b1024', 'dir-default', 'dir-xattr-shared', 'meta-first-chunk-holes-shared', 'tar-48bit'].map(
    (name) => `erofs-images/${name}`,
  ),
];
const imageOf = (name: string): Buffer => gunzipSync(readFileSync(join(golden, `${name}.erofs.gz`)));
const blockSizeOf = (image: Buffer): number => 2 ** image[1024 + 12]!;

const spec = { profile: 'erofs-image-spec', chunkSize: '16KiB' } as const;
const ways: [string, ConvertOptions][] = [
  ['the draft', spec],
  ['the draft, with dm-verity', { ...spec, dmVerity: true }],
  ['the draft, uncompressed', { ...spec, noCompress: true }],
  ['profile containerd, with dm-verity', { profile: 'containerd', chunkSize: '16KiB', dmVerity: true }],
];

/** An image of one raw layer, as those builders have it: nothing but its digest says what it is. */
function imageOfLayer(image: Buffer): string {
  const builder = new LayoutBuilder(at('source'));
  const layer = { descriptor: builder.put('application/vnd.erofs', image), diffId: digestOf(image) };
  builder.name(builder.image([layer], { config: { 'os.features': ['erofs'], rootfs: undefined } }));
  return `oci:${at('source')}:image`;
}

async function convert(source: string, options: ConvertOptions) {
  const reference = `oci:${at('converted')}:image`;
  await convertImage(source, reference, options);
  const { manifests } = (await inspect(reference)) as ImageInspection;
  return { reference, layer: manifests[0]!.layers[0]! };
}

const listing = (reference: string) => listImage(reference, '/', { recursive: true });

describe.each([...blockSizes, apko, ...larger])('a layer of another builder, %s', (name) => {
  it.each(ways)('becomes one of %s', async (_, options) => {
    const image = imageOf(name);
    const source = imageOfLayer(image);
    const { reference, layer } = await convert(source, options);
    const merkle = options.dmVerity === true ? 'ok' : 'absent';
    expect(await verifyImage(reference)).toMatchObject({ ok: true, layers: [{ merkle }] });
    expect(layer.table).toMatchObject({ hashAlgorithm: 'sha512' });
    expect(layer.table!.entries.every(({ checksum }) => checksum?.startsWith('sha512:'))).toBe(true);
    expect(layer.descriptor.mediaType.endsWith('+zstd')).toBe(options.noCompress !== true);
    // No larger than the image's own blocks, or no kernel would mount it.
    if (layer.dmverity !== null) expect(layer.dmverity.dataBlockSize).toBeLessThanOrEqual(blockSizeOf(image));
    const blob = join(at('converted'), 'blobs', ...layer.descriptor.digest.split(':'));
    await decodeBlob(blob, at('decoded'), { descriptor: layer.descriptor });
    expect(readFileSync(at('decoded')).subarray(0, image.length).equals(image)).toBe(true);
    expect(await checkImage(source, reference)).toMatchObject({ ok: true, differences: [], notCompared: [] });
    expect(await listing(reference)).toEqual(await listing(source));
  });
});

describe('what the kernel showed of these layers', () => {
  it.each([...blockSizes, apko])('%s: is read of what they are converted to', async (name) => {
    const sums = readFileSync(join(golden, name, '../sha256sums'), 'utf8')
      .trim()
      .split('\n');
    const { reference } = await convert(imageOfLayer(imageOf(name)), spec);
    const files = (await listing(reference)).filter(({ type }) => type === 'file');
    expect(files).toHaveLength(sums.length);
    for (const line of sums) {
      const [sum, path] = [line.slice(0, 64), line.slice(66)];
      const hash = createHash('sha256');
      await readImageFile(reference, path.slice(1), async (bytes) => {
        hash.update(bytes);
        return true;
      });
      expect(hash.digest('hex'), path).toBe(sum);
    }
  });
});

const noMounts = whyNoMounts();

describe.skipIf(noMounts !== null)(titleOf('the kernel', noMounts), () => {
  it.each([...blockSizes, apko, ...larger])('shows the same of %s, as it was and converted', async (name) => {
    const source = imageOfLayer(imageOf(name));
    const { reference } = await convert(source, { ...spec, dmVerity: true });
    const trees: unknown[] = [];
    for (const image of [source, reference]) {
      await mountImage(image, at('target'), { state });
      trees.push([...walk(at('target')).values()]);
      await unmountImage(at('target'), { state });
    }
    expect(trees[1]).toEqual(trees[0]);
    // Mounted without an overlay, a whiteout is the device that it is.
    const listed = await listImage(reference, '/', { recursive: true, oneLayer: 0 });
    expect(listed).toHaveLength((trees[0] as unknown[]).length);
  });
});
