import { readFile, writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { buildErofs, convertImage, encodeLayer, type EncodeOptions } from '../../src';
import { native } from '../../src/native/binding';
import { noise, sha256, writeLayout } from '../e2e/sample';
import { at, useFolders } from '../e2e/workspace';
import { tarBytes } from '../support/tar-bytes';

// The claim: a release writes the bytes of the one before, on every machine, unless its changelog says that digests change.

useFolders();

const zstd = '1.5.7';

/** What to do about a digest that is another. */
const advice = [
  'These bytes are another than before: users get other digests for the same layers, and push them all anew. If that is meant:',
  '1. raise `version` in src/convert/layer-cache.ts, or --cache goes on giving out the old ones;',
  '2. put it under "Digests" in CHANGELOG.md, with the options for which they change;',
  '3. then put the new digests here.',
].join('\n');

/** Some 1.4 MB in words, in which a compressor finds much, but not all: what it finds depends on its parameters. */
const words = Array.from(noise(240_000, 'words'), (byte) => (byte * 2_654_435).toString(36)).join(' ');

/** One of everything that the formats have, in several chunks of 1 MiB: of words, of noise, and with a hole. */
const layer = tarBytes([
  { name: 'etc/', type: '5', mode: 0o755 },
  {
    name: 'etc/motd',
    content: 'seekable\n',
    mode: 0o600,
    uid: 70_000,
    gid: 1,
    mtime: '1700000000.123456789',
  },
  { name: 'etc/link', type: '2', target: 'motd' },
  { name: 'etc/same', type: '1', target: 'etc/motd' },
  { name: 'etc/.wh.gone', content: '' },
  { name: 'opaque/', type: '5', mode: 0o755 },
  { name: 'opaque/.wh..wh..opq', content: '' },
  { name: 'dev/null', type: '3', device: [1, 3], mode: 0o666 },
  {
    name: 'bin/tool',
    mode: 0o4755,
    content: noise(1_500_000, 'tool').toString('latin1'),
    xattrs: { 'user.note': 'x' },
  },
  { name: 'share/text', content: words },
  { name: 'share/zeros', content: `a${'\0'.repeat(1 << 20)}b` },
]);

beforeEach(() => writeFile(at('layer.tar'), layer));

test('zstd is the version that the digests below are of', () => {
  expect(native.features().zstd, advice).toBe(zstd);
});

test('the raw image of a layer', async () => {
  await buildErofs(at('layer.tar'), at('image'));
  expect(sha256(await readFile(at('image'))), advice).toBe(
    'sha256:6dab3f8463edf3fc21467a9e454e352ebe5ddc614c14843e99c611accddb3dbf',
  );
});

test.each<[string, EncodeOptions, string]>([
  ['containerd', {}, 'sha256:b76cbda8ef1bee47f9a69f980041b14425f3ac582c5630056e1a85d3a966d4a5'],
  [
    'containerd, small chunks and a tree',
    { dmVerity: true, chunkSize: '64KiB' },
    'sha256:900936fc18b03375cd5295a167fe6b88b4bfcfe5e36426e9c466ac7c120190b7',
  ],
  [
    'containerd, level 19',
    { level: 19, chunkSize: '1MiB' },
    'sha256:05b76d0be32d163f60e09561f98bb45239ee68a6795814a84241e9d970025da1',
  ],
  [
    'erofs-image-spec',
    { profile: 'erofs-image-spec' },
    'sha256:a9f79fcd71f4e76552114bfde9bea80bd843d81d4a62105e66b0c9d7abbc5f1e',
  ],
  [
    'erofs-image-spec, a tree',
    { profile: 'erofs-image-spec', dmVerity: true, chunkSize: '1MiB' },
    'sha256:e8cd59026ea0667a7efb5e2aa7b0d2f33b21dad13ae363c38d71d61ebbdbc7a0',
  ],
  [
    'erofs-image-spec, not compressed',
    { profile: 'erofs-image-spec', noCompress: true, dmVerity: true },
    'sha256:80677ddbd29d696f397afefdfe7aa17f17845f1db8abb2c4271cef0ad6ad47f6',
  ],
])('a layer in profile %s', async (_, options, digest) => {
  expect((await encodeLayer(at('layer.tar'), at('blob'), options)).digest, advice).toBe(digest);
});

test.each([
  ['containerd', 'sha256:bd8376459f6b79f8fb707f59e862ac66d63379e8e6b98e398e972988afa51fb3'],
  ['erofs-image-spec', 'sha256:9941a93824f704c83dea9eb6d1b1cf0cfc0a5fcd9c3836c2f6c10a58917c76c5'],
] as const)(
  'an image in profile %s: its manifest, and so its config and annotations',
  async (profile, digest) => {
    await writeLayout(at('source'), [layer], { ref: 'image', compress: false });
    const options = { profile, dmVerity: true } as const;
    const converted = await convertImage(
      `oci:${at('source')}:image`,
      `oci:${at('converted')}:image`,
      options,
    );
    expect(converted.digest, advice).toBe(digest);
  },
);
