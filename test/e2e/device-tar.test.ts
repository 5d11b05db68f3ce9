import { readFile, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  checkImage,
  convertImage,
  decodeBlob,
  extractImage,
  planConversion,
  verifyImage,
  type ConvertOptions,
} from '../../src';
import { readDeviceSlots } from '../../src/erofs/block-space';
import { readSuperblock } from '../../src/erofs/superblock';
import { MemorySource } from '../support/memory-source';
import { titleOf, whyWithout } from '../conformance/support/machine';
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';
import { blobPath, filesUnder, noise, readBlob, sha256, writeLayout } from './sample';
import { at, expectFailure, useFolders } from './workspace';

// The claim: `convert --device-tar` leaves tars as they are, puts compressed ones in frames, and what it adds says all of them.

useFolders();

const spec = { profile: 'erofs-image-spec', deviceTar: true } as const;
const text = (length: number, seed: string): string => noise(length, seed).toString('latin1');

/** A sparse file as GNU tar's format 0.1 has it: `map` has offset and length of each piece in turn. */
function sparse(name: string, size: number, map: readonly number[]): TarEntryBytes {
  const length = map.reduce((sum, value, i) => sum + (i % 2 === 1 ? value : 0), 0);
  const pax = {
    'GNU.sparse.size': `${size}`,
    'GNU.sparse.numblocks': `${map.length / 2}`,
    'GNU.sparse.map': map.join(','),
  };
  return { name, content: text(length, name), pax };
}

const lower = tarBytes([
  { name: 'etc/', type: '5', mode: 0o755 },
  { name: 'etc/empty' },
  { name: 'etc/block', content: text(512, 'block'), uid: 70_000 },
  { name: 'etc/more', content: text(513, 'more'), xattrs: { 'user.a': 'four', 'user.b': 'x'.repeat(90) } },
  { name: 'etc/hard', type: '1', target: 'etc/more' },
  { name: 'etc/link', type: '2', target: 'l'.repeat(600) },
  { name: 'odd \x01\n\xff', content: 'odd' },
  { name: 'large', content: text(900_000, 'large') },
  sparse('holes', 3_000_100, [0, 4096, 1_048_576, 8192, 2_998_272, 1828]),
  sparse('hole', 100_000, [100_000, 0]),
  { name: 'gone', content: 'gone' },
  ...Array.from({ length: 150 }, (_, i) => ({ name: `many/${i}`, content: text(i * 17, `m${i}`) })),
]);
const upper = tarBytes([{ name: '.wh.gone' }, { name: 'etc/new', content: 'new' }]);
const dataless = tarBytes([{ name: 'var/', type: '5', mode: 0o700 }, { name: 'var/empty' }]);

interface Layer {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

interface Manifest {
  config: { digest: string };
  layers: Layer[];
}

async function convert(name: string, options: ConvertOptions = {}) {
  const { digest, manifests } = await convertImage(`oci:${at('source')}:sample`, `oci:${at(name)}:sample`, {
    ...spec,
    ...options,
  });
  return { digest: digest!, manifest: await readBlob<Manifest>(at(name), manifests[0]!.digest) };
}

const roles = ({ layers }: Manifest): (string | undefined)[] =>
  layers.map(({ mediaType, annotations }) => annotations?.['org.erofs.role'] ?? mediaType);

async function manifestsOf(layout: string): Promise<{ digest: string }[]> {
  const { manifests } = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as {
    manifests: { digest: string }[];
  };
  return manifests;
}

async function expectSame(name: string): Promise<void> {
  const [from, to] = [`oci:${at('source')}:sample`, `oci:${at(name)}:sample`];
  const { differences, ok } = await checkImage(from, to);
  expect({ differences, ok }).toEqual({ differences: [], ok: true });
  expect(await verifyImage(to)).toMatchObject({ ok: true });
}

test('tars stay as they are, each before a small image of its metadata, which names it', async () => {
  const tars = await writeLayout(at('source'), [lower, upper, dataless], { compress: false });
  const { manifest } = await convert('to');
  expect(roles(manifest)).toEqual([
    'device',
    'overlay-lower',
    'device',
    'overlay-lower',
    'application/vnd.erofs+zstd', // no file of the last tar has data
  ]);
  expect([0, 2].map((i) => manifest.layers[i]!.digest)).toEqual(tars.slice(0, 2));
  expect(manifest.layers[0]!.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
  expect(await filesUnder(at('to'))).not.toContain(`blobs/sha256/${tars[2]!.slice(7)}`);
  const config = await readBlob<{ rootfs: { diff_ids: string[] } }>(at('to'), manifest.config.digest);
  const ids = config.rootfs.diff_ids;
  expect(ids[0]).toBe(tars[0]);
  expect(ids).toHaveLength(5);
  expect(manifest.layers[1]!.annotations!['org.erofs.uncompressed-digest']).toBe(ids[1]);

  await decodeBlob(blobPath(at('to'), manifest.layers[1]!.digest), at('image'), {
    descriptor: manifest.layers[1] as never,
  });
  const image = new MemorySource(await readFile(at('image')));
  expect(sha256(await readFile(at('image')))).toBe(ids[1]);
  const superblock = await readSuperblock(image);
  const [slot] = await readDeviceSlots(image, superblock);
  expect(slot).toMatchObject({ length: lower.length });
  expect((await readFile(at('image'))).includes(tars[0]!.slice(7))).toBe(true);
  await expectSame('to');
});

test.each([false, true])(
  'the result names the device of a layer, and counts it (compressed: %s)',
  async (compress) => {
    await writeLayout(at('source'), [lower, dataless], { compress });
    const { manifests, summary } = await convertImage(
      `oci:${at('source')}:sample`,
      `oci:${at('to')}:sample`,
      spec,
    );
    const { layers } = await readBlob<Manifest>(at('to'), manifests[0]!.digest);
    const [first, second] = manifests[0]!.layers;
    const { digest, size } = layers[0]!;
    expect(first!.device).toEqual({ digest, size, diffId: sha256(lower) });
    expect(first!.digest).toBe(layers[compress ? 2 : 1]!.digest);
    expect(second).not.toHaveProperty('device');
    expect(summary.bytesOut).toBe(size + first!.size + second!.size);
  },
);

test('what stays holes are zeros, and all data is found', async () => {
  await writeLayout(at('source'), [lower], { compress: false });
  await convert('to');
  await extractImage(`oci:${at('to')}:sample`, at('tree'));
  const holes = await readFile(at('tree/holes'));
  const data = noise(4096 + 8192 + 1828, 'holes');
  const expected = Buffer.alloc(3_000_100);
  data.copy(expected, 0, 0, 4096);
  data.copy(expected, 1_048_576, 4096, 4096 + 8192);
  data.copy(expected, 2_998_272, 4096 + 8192);
  expect(holes.equals(expected)).toBe(true);
});

test.each<ConvertOptions>([
  {},
  { dmVerity: true },
  { noCompress: true },
  { index: 'standalone', dmVerity: true },
  { chunkSize: '4KiB' },
])('with %j: the same bytes from any number of threads, and the whole tree', async (options) => {
  await writeLayout(at('source'), [lower, upper], { compress: false });
  const { digest } = await convert('one', { ...options, threads: 1 });
  expect((await convert('four', { ...options, threads: 4 })).digest).toBe(digest);
  await expectSame('one');
});

async function sizeOf(layout: string): Promise<number> {
  const files = await filesUnder(at(`${layout}/blobs`));
  const sizes = await Promise.all(
    files.map(async (file) => (await readFile(at(`${layout}/blobs/${file}`))).length),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

test('an index of both forms has the data once', async () => {
  await writeLayout(at('source'), [lower, upper], { compress: false });
  await convert('both', { appendToIndex: true });
  expect(await sizeOf('both')).toBeLessThan(1.05 * (await sizeOf('source')));
});

test('a cache has the image, and the tar comes from the source; without the flag the layer is another one', async () => {
  await writeLayout(at('source'), [lower], { compress: false });
  const first = await convert('first', { cache: at('cache') });
  const second = await convert('second', { cache: at('cache') });
  expect(second.digest).toBe(first.digest);
  await expectSame('second');
  const { manifest } = await convert('other', { cache: at('cache'), deviceTar: false });
  expect(roles(manifest)).toEqual(['application/vnd.erofs+zstd']);
});

test('what was converted so stays as it is, and profile containerd can not say it', async () => {
  await writeLayout(at('source'), [lower], { compress: false });
  const { digest } = await convert('to');
  const again = await convertImage(`oci:${at('to')}:sample`, `oci:${at('again')}:sample`, spec);
  expect(again.digest).toBe(digest);
  const args = ['convert', `oci:${at('to')}:sample`, `oci:${at('no')}:sample`, '--profile', 'containerd'];
  await expectFailure(args, 1, 'UNSUPPORTED');
});

const noZstd = whyWithout('zstd');

describe(titleOf('a compressed tar', noZstd), () => {
  const source = () => `oci:${at('source')}:sample`;

  /** The device and its index are of the tar of `layers[at]`, which old readers find in them. */
  async function expectFrames({ layers }: Manifest, at0: number, tar: Buffer, name: string): Promise<void> {
    const [device, index, image] = layers.slice(at0, at0 + 3) as [Layer, Layer, Layer];
    expect(device).toMatchObject({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
      annotations: { 'org.erofs.role': 'device', 'org.erofs.uncompressed-digest': sha256(tar) },
    });
    expect(index).toMatchObject({
      mediaType: 'application/vnd.erofs.chunk-index.v1',
      annotations: { 'org.erofs.chunk-index.target': device.digest },
    });
    if (noZstd === null) {
      const blob = blobPath(at(name), device.digest);
      expect(execFileSync('zstd', ['-dc', blob], { maxBuffer: 1 << 30 }).equals(tar)).toBe(true);
    }
    await decodeBlob(blobPath(at(name), image.digest), at('image'), { descriptor: image });
    const bytes = await readFile(at('image'));
    const superblock = await readSuperblock(new MemorySource(bytes));
    const slots = await readDeviceSlots(new MemorySource(bytes), superblock);
    expect(slots).toMatchObject([{ length: tar.length }]);
    expect(bytes.includes(device.digest.slice(7))).toBe(true);
  }

  test.each([true, 'zstd'] as const)(
    '(%s) is put in frames, with a lone index, and keeps its DiffID',
    async (compress) => {
      await writeLayout(at('source'), [lower, upper, dataless], { compress });
      const { manifest } = await convert('to', { chunkSize: '64KiB' });
      const index = 'application/vnd.erofs.chunk-index.v1';
      const once = ['device', index, 'overlay-lower'];
      expect(roles(manifest)).toEqual([...once, ...once, 'application/vnd.erofs+zstd']);
      await expectFrames(manifest, 0, lower, 'to');
      await expectFrames(manifest, 3, upper, 'to');
      const config = await readBlob<{ rootfs: { diff_ids: string[] } }>(at('to'), manifest.config.digest);
      const ids = config.rootfs.diff_ids;
      expect([ids[0], ids[3]]).toEqual([sha256(lower), sha256(upper)]);
      const blobs = new Set([...manifest.layers.map(({ digest }) => digest), manifest.config.digest]);
      const stored = await filesUnder(at('to/blobs/sha256'));
      expect(stored.filter((name) => !blobs.has(`sha256:${name}`))).toHaveLength(1); // the manifest
      await expectSame('to');
    },
  );

  test.each<ConvertOptions>([
    { chunkSize: '4KiB' },
    { chunkSize: '64KiB', dmVerity: true, level: 9 },
    { chunkSize: '64KiB', index: 'standalone' },
    { chunkSize: '64KiB', noCompress: true },
  ])('with %j: the same bytes from any number of threads, and the whole tree', async (options) => {
    await writeLayout(at('source'), [lower, upper]);
    const { digest, manifest } = await convert('one', { ...options, threads: 1 });
    expect((await convert('four', { ...options, threads: 4 })).digest).toBe(digest);
    await expectSame('one');
    if (options.noCompress !== true) return;
    // Nothing is compressed: the device is the tar.
    expect(manifest.layers[0]).toMatchObject({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: sha256(lower),
    });
  });

  test('is told by its content: one that is not compressed stays as it is', async () => {
    await writeLayout(at('source'), [upper], { compress: false, stored: [gzipSync(upper)] });
    await expectFrames((await convert('gzip')).manifest, 0, upper, 'gzip');
    await expectSame('gzip');
    await writeLayout(at('plain'), [upper], { stored: [upper] });
    const { manifests } = await convertImage(`oci:${at('plain')}:sample`, `oci:${at('to')}:sample`, spec);
    const { layers } = await readBlob<Manifest>(at('to'), manifests[0]!.digest);
    expect(layers[0]).toMatchObject({
      digest: sha256(upper),
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
    });
  });

  test('stays in its manifest, to the byte, where an index has both forms', async () => {
    await writeLayout(at('source'), [lower, upper]);
    const [before] = await manifestsOf(at('source'));
    const { digest } = await convertImage(source(), `oci:${at('both')}:sample`, {
      ...spec,
      appendToIndex: true,
    });
    const { manifests } = await readBlob<{ manifests: { digest: string }[] }>(at('both'), digest!);
    expect(manifests[0]!.digest).toBe(before!.digest);
    const { layers } = await readBlob<Manifest>(at('both'), before!.digest);
    for (const { digest: layer } of layers) await readFile(blobPath(at('both'), layer));
    await expectSame('both');
  });

  test('that is in such frames already stays the same blob, which both forms of an index share', async () => {
    await writeLayout(at('source'), [lower]);
    const [device] = (await convert('to')).manifest.layers;
    const framed = await readFile(blobPath(at('to'), device!.digest));
    await writeLayout(at('framed'), [lower], { compress: 'zstd', stored: [framed] });
    const both = `oci:${at('both')}:sample`;
    await convertImage(`oci:${at('framed')}:sample`, both, { ...spec, appendToIndex: true });
    expect(await sizeOf('both')).toBeLessThan(1.05 * (await sizeOf('framed')));
    expect(await verifyImage(both)).toMatchObject({ ok: true });
  });

  test('comes out of a cache with its device, also where the device was damaged there', async () => {
    await writeLayout(at('source'), [lower, dataless]);
    const first = await convert('first', { cache: at('cache') });
    const kept = await filesUnder(at('cache'));
    expect(kept.map((file) => file.split('/').at(-1)).sort()).toEqual(
      ['blob', 'blob', 'device', 'device-index', 'layer.json', 'layer.json'], // one of them has no device
    );
    expect((await convert('second', { cache: at('cache') })).digest).toBe(first.digest);
    await expectSame('second');
    for (const name of ['device', 'device-index']) {
      const file = at(`cache/${kept.find((path) => path.endsWith(`/${name}`))!}`);
      const bytes = await readFile(file);
      bytes[40]! ^= 1;
      await writeFile(file, bytes);
      expect((await convert(`after-${name}`, { cache: at('cache') })).digest).toBe(first.digest);
      await expectSame(`after-${name}`);
    }
  });

  test('that was converted so stays as it is', async () => {
    await writeLayout(at('source'), [lower, upper]);
    const { digest } = await convert('to');
    const again = await convertImage(`oci:${at('to')}:sample`, `oci:${at('again')}:sample`, spec);
    expect(again.digest).toBe(digest);
  });

  test('counts in a dry run with its frames', async () => {
    await writeLayout(at('source'), [lower]);
    const plan = await planConversion(source(), `oci:${at('to')}:sample`, spec);
    expect(plan.total).toMatchObject({ convert: 1 });
    expect(plan.total.bytesWritten).toBeGreaterThan(lower.length / 3);
    expect(plan.total.seconds).toBeGreaterThan(0);
  });

  describe('that is hostile', () => {
    const refusal = async (layer: Buffer, code: number, name: string): Promise<string> => {
      await writeLayout(at('source'), [lower], { stored: [layer] });
      const flags = ['--device-tar', '--profile', 'erofs-image-spec'];
      const message = await expectFailure(
        ['convert', source(), `oci:${at('to')}:sample`, ...flags],
        code,
        name,
      );
      expect(await filesUnder(at('to'))).toEqual([]);
      return message;
    };

    test('with bytes behind its gzip members: exit 3', async () => {
      await refusal(Buffer.concat([gzipSync(lower), Buffer.from('garbage')]), 3, 'CORRUPT');
    });

    test('cut short: exit 3', async () => {
      await refusal(gzipSync(lower).subarray(0, -20), 3, 'CORRUPT');
    });

    test('of another DiffID: exit 3', async () => {
      await refusal(gzipSync(Buffer.concat([lower, Buffer.alloc(512, 1)])), 3, 'MISMATCH');
    });

    test('no tar at all: exit 3', async () => {
      await refusal(gzipSync(noise(4096, 'no tar')), 3, 'CORRUPT');
    });
  });
});

test('a dry run counts the tar, and writes nothing', async () => {
  await writeLayout(at('source'), [lower], { compress: false });
  const plan = await planConversion(`oci:${at('source')}:sample`, `oci:${at('to')}:sample`, spec);
  expect(plan.total.bytesWritten).toBeGreaterThan(lower.length);
  expect(plan.total.bytesWritten).toBeLessThan(1.05 * lower.length);
  expect(await filesUnder(at('to'))).toEqual([]);
});

describe('refused', () => {
  const args = (...flags: string[]): string[] => [
    ...['convert', `oci:${at('source')}:sample`, `oci:${at('to')}:sample`, '--device-tar'],
    ...flags,
  ];

  test.each([
    ['no profile', []],
    ['profile containerd', ['--profile', 'containerd']],
    ['mkfs.erofs', ['--profile', 'erofs-image-spec', '--mkfs', '']],
    ['a tar index of mkfs.erofs', ['--profile', 'erofs-image-spec', '--mkfs-tar-index']],
    ['an order', ['--profile', 'erofs-image-spec', '--order', 'auto']],
    ['chunks by files', ['--profile', 'erofs-image-spec', '--chunking', 'files']],
  ])('with %s: exit 2', async (_, flags) => {
    await writeLayout(at('source'), [upper], { compress: false });
    expect(await expectFailure(args(...flags), 2, 'USAGE')).toContain('--device-tar');
    expect(await expectFailure([...args(...flags), '--dry-run'], 2, 'USAGE')).toContain('--device-tar');
  });

  test('into a layer content cache: exit 2', async () => {
    await writeLayout(at('source'), [upper], { compress: false });
    const to = ['convert', `oci:${at('source')}:sample`, `erofs-cache:${at('to')}`];
    await expectFailure([...to, '--device-tar', '--profile', 'erofs-image-spec'], 2, 'USAGE');
  });

  test.each([
    ['begins', [100, 512]],
    ['ends', [0, 100, 512, 512]],
    ['lies', [0, 600, 1024, 512]],
  ])('a sparse file whose data %s within a block, by its name', async (_, map) => {
    await writeLayout(at('source'), [tarBytes([sparse('dir/sparse', 5000, map)])], { compress: false });
    const message = await expectFailure(args('--profile', 'erofs-image-spec'), 1, 'UNSUPPORTED');
    expect(message).toContain('/dir/sparse: the data of this sparse file');
  });

  test('a tar that ends within a block', async () => {
    const cut = Buffer.concat([tarBytes([{ name: 'a', content: 'a' }]), Buffer.from('x')]);
    for (const compress of [false, true]) {
      await writeLayout(at('source'), [cut], { compress });
      await expectFailure(args('--profile', 'erofs-image-spec'), 1, 'UNSUPPORTED');
      expect(await filesUnder(at('to'))).toEqual([]);
    }
  });
});
