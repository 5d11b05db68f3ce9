import { expect, test } from 'vitest';
import { describeInspection } from '../../src/cli/inspect-text';

const blob = {
  mediaType: 'application/vnd.erofs.layer.v1+zstd',
  size: 1000,
  profile: 'containerd' as const,
  table: {
    offset: 900,
    version: 1,
    uncompressedSize: 10_000,
    chunkSize: 4096,
    hashAlgorithm: 'sha512' as const,
    digest: 'sha512:dd',
    entries: [0, 300, 600].map((offset) => ({ offset, size: 300, checksum: `sha512:${'ab'.repeat(64)}` })),
  },
  dmverity: {
    offset: 950,
    rootDigest: 'sha512:ee',
    hashAlgorithm: 'sha512' as const,
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 3,
    salt: '',
    uuid: '48d6818b-fe89-46aa-8eb1-f83cc2abec15',
  },
  tree: null,
};

async function linesOf(...args: Parameters<typeof describeInspection>): Promise<string[]> {
  const all: string[] = [];
  for await (const lines of describeInspection(...args)) all.push(...lines);
  return all;
}

test('a blob: what it is, its first chunks, its tree', async () => {
  expect(await linesOf(blob, 2)).toEqual([
    'media type  application/vnd.erofs.layer.v1+zstd',
    'size        1000',
    'profile     containerd',
    'chunk table',
    '  offset        900',
    '  version       1',
    '  uncompressed  10000 in 3 chunks of 4096',
    '  digest        sha512:dd',
    '  chunk  offset  size  checksum',
    '      0       0   300  sha512:abababababab',
    '      1     300   300  sha512:abababababab',
    '  1 more (--chunks all)',
    'dm-verity',
    '  offset  950',
    '  root    sha512:ee',
    '  hash    sha512',
    '  blocks  3 of 4096, hash blocks of 4096',
    '  salt    -',
    '  uuid    48d6818b-fe89-46aa-8eb1-f83cc2abec15',
  ]);
});

test('one chunk is one chunk', async () => {
  const table = { ...blob.table, uncompressedSize: 2048, entries: blob.table.entries.slice(0, 1) };
  expect(await linesOf({ ...blob, table }, 2)).toContain('  uncompressed  2048 in 1 chunk of 4096');
});

test('a raw image: the share of its metadata, and its tree', async () => {
  const entry = { ino: 36, type: 'dir' as const, mode: '0755', uid: 0, gid: 5, size: 27, nlink: 2 };
  const more = { mtime: '-1.500000000', target: null, rdev: null, xattrs: {} };
  const link = { ...entry, path: '/l', type: 'symlink' as const, mode: '0777', nlink: 1, target: 'etc' };
  const device = { ...entry, path: '/n', type: 'char' as const, mode: '2666', nlink: 1, rdev: '1:3' };
  const raw = {
    mediaType: 'application/vnd.erofs',
    size: 12_288,
    profile: null,
    table: null,
    dmverity: null,
    share: { metadataBytes: 4096, imageBytes: 12_288 },
    tree: [
      { ...more, ...entry, path: '/' },
      { ...more, ...link },
      { ...more, ...device },
    ],
  };
  expect(await linesOf(raw, 2)).toEqual([
    'media type  application/vnd.erofs',
    'size        12288',
    "metadata    4096 of the image's 12288 (33.3 %)",
    'directory tree',
    '  drwxr-xr-x  2  0  5   27  1969-12-31 23:59:59  /',
    '  lrwxrwxrwx  1  0  5   27  1969-12-31 23:59:59  /l -> etc',
    '  crw-rwSrw-  1  0  5  1:3  1969-12-31 23:59:59  /n',
  ]);
});

test('all chunks on request', async () => {
  const lines = await linesOf(blob, Infinity);
  expect(lines).toContain('      2     600   300  sha512:abababababab');
  expect(lines.some((line) => line.includes('more'))).toBe(false);
});

test('an image: its manifests, their layers, their annotations', async () => {
  const descriptor = { mediaType: 'm', digest: 'sha256:11', size: 1000, annotations: { 'dev.key': 'value' } };
  const lines = await linesOf(
    {
      digest: 'sha256:00',
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          platform: 'linux/amd64',
          digest: 'sha256:22',
          config: 'sha256:33',
          layers: [{ descriptor, ...blob }],
        },
      ],
    },
    0,
  );
  expect(lines.slice(0, 9)).toEqual([
    'sha256:00',
    '  media type  application/vnd.oci.image.index.v1+json',
    'manifest sha256:22',
    '  platform  linux/amd64',
    '  config    sha256:33',
    '  layer 0 sha256:11',
    '    annotations',
    '      dev.key  value',
    '    media type  application/vnd.erofs.layer.v1+zstd',
  ]);
});
