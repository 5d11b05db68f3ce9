import { readFile } from 'node:fs/promises';
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
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';
import { blobPath, filesUnder, noise, readBlob, sha256, writeLayout } from './sample';
import { at, expectFailure, useFolders } from './workspace';

// The claim: `convert --device-tar` leaves tars as they are, and what it adds says all of them.

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

interface Manifest {
  config: { digest: string };
  layers: { mediaType: string; digest: string; annotations?: Record<string, string> }[];
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

test('an index of both forms has the data once', async () => {
  await writeLayout(at('source'), [lower, upper], { compress: false });
  const sizeOf = async (name: string): Promise<number> => {
    const files = await filesUnder(at(`${name}/blobs`));
    const sizes = await Promise.all(
      files.map(async (file) => (await readFile(at(`${name}/blobs/${file}`))).length),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  };
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

  test('a compressed tar, by its type or by its content', async () => {
    const flags = ['--profile', 'erofs-image-spec'];
    await writeLayout(at('source'), [upper]);
    expect(await expectFailure(args(...flags), 1, 'UNSUPPORTED')).toContain('compressed');
    expect(await expectFailure(args(...flags, '--dry-run'), 1, 'UNSUPPORTED')).toContain('compressed');
    await writeLayout(at('source'), [gzipSync(upper)], { compress: false });
    expect(await expectFailure(args(...flags), 1, 'UNSUPPORTED')).toContain('compressed');
    expect(await filesUnder(at('to/index.json'))).toEqual([]);
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
    await writeLayout(at('source'), [cut], { compress: false });
    await expectFailure(args('--profile', 'erofs-image-spec'), 1, 'UNSUPPORTED');
  });
});
