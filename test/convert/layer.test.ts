import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { checkCleanLayout } from '../conformance/support/layout-check';
import { blobPath, noise, readBlob, writeLayout } from '../e2e/sample';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'convert-layer-'));
  const tar = tarBytes([{ name: 'file', content: noise(200_000, 'layer').toString('latin1') }]);
  await writeLayout(join(folder, 'source'), [tar], { compress: false });
  const top = tarBytes([{ name: 'top' }]);
  await writeLayout(join(folder, 'pair'), [tar, top], { compress: false });
});
afterAll(() => rm(folder, { recursive: true }));

interface Manifest {
  layers: { mediaType: string; digest: string }[];
}

/** Converts an image of this test's folder into a layout of it; the result, and its manifest's layers. */
async function convert(from: string, to: string, options: ConvertOptions) {
  const destination = join(folder, to);
  const result = await convertImage(`oci:${join(folder, from)}`, `oci:${destination}:new`, options);
  const { layers } = await readBlob<Manifest>(destination, result.manifests[0]!.digest);
  return { destination, layers, made: result.manifests[0]!.layers };
}

describe('a layer whose chunk index is a layer of its own', () => {
  test.each(['layer', 'index'])('is written again where its %s is missing', async (missing) => {
    const options = {
      profile: 'erofs-image-spec',
      index: 'standalone',
      cache: join(folder, 'cache'),
    } as const;
    const { destination, layers } = await convert('pair', `without-${missing}`, options);
    expect(layers).toHaveLength(3); // the last one must be one that is mounted
    await rm(blobPath(destination, layers[missing === 'layer' ? 0 : 1]!.digest));
    const again = await convert('pair', `without-${missing}`, options);
    expect(again.layers).toEqual(layers);
    expect(again.made[0]!.reused).toBe(true);
    checkCleanLayout(destination);
  });
});

describe('a seekable layer', () => {
  const spec = { profile: 'erofs-image-spec' } as const;
  const tree = { ...spec, dmVerity: true } as const;

  test.each<[string, ConvertOptions, ConvertOptions, boolean]>([
    ['of the profile asked for', spec, spec, true],
    ['of another profile', spec, { profile: 'containerd' }, false],
    ['with chunks of the size asked for', { chunkSize: '64KiB' }, { chunkSize: 65536 }, true],
    ['with chunks of another size', { chunkSize: '64KiB' }, { chunkSize: '128KiB' }, false],
    ['compressed, where that is not asked for', spec, { ...spec, noCompress: true }, false],
    ['without a tree', spec, tree, false],
    ['with a tree that is not asked for', tree, { ...spec, dmVerity: false }, false],
    ['with the tree’s block size', tree, { ...tree, dmVerityBlockSize: 4096 }, true],
    ['with a tree of other blocks', tree, { ...tree, dmVerityBlockSize: 1024 }, false],
    ['with the tree’s hash', tree, { ...tree, dmVerityHash: 'sha256' }, true],
    ['with a tree of another hash', tree, { ...tree, dmVerityHash: 'sha512' }, false],
    ['of which nothing is asked', tree, {}, true],
  ])('%s: %j, then %j, is kept: %s', async (_, before, after, kept) => {
    const name = `${(await readdir(folder)).length}`;
    const first = await convert('source', name, before);
    const second = await convert(name, `${name}-again`, after);
    expect(second.made.map(({ reused }) => reused)).toEqual([kept]);
    expect(second.layers[0]!.digest === first.layers[0]!.digest).toBe(kept);
  });

  test('with its index elsewhere is wrapped anew, unless it is the last', async () => {
    await convert('pair', 'here', spec);
    const apart = await convert('here', 'apart', { ...spec, index: 'standalone' });
    expect(apart.made.map(({ reused }) => reused)).toEqual([false, true]);
    const same = await convert('apart', 'same', { ...spec, index: 'standalone' });
    expect(same.layers).toEqual(apart.layers);
  });
});
