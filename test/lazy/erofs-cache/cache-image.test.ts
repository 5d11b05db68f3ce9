import { expect, test } from 'vitest';
import { ownLayers } from '../../../src/lazy/erofs-cache/cache-image';
import type { Descriptor, ImageConfig, Manifest } from '../../../src/oci/types';
import { refusal } from '../../support/refusal';

// Under which names a cache shows the layers of an EROFS image.

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const origin = { source: 'docker://registry.example/a@x', mirrors: [], access: {}, allowUnverified: false };
const spec = (letter: string, diffId: string): Descriptor => ({
  mediaType: 'application/vnd.erofs+zstd',
  digest: digest(letter),
  size: 10,
  annotations: { 'org.erofs.uncompressed-digest': diffId },
});
const indexOf = (letter: string, target: string): Descriptor => ({
  mediaType: 'application/vnd.erofs.chunk-index.v1',
  digest: digest(letter),
  size: 10,
  annotations: { 'org.erofs.chunk-index.target': target },
});

function image(layers: Descriptor[], diffIds: string[]) {
  const manifest = { schemaVersion: 2, config: layers[0]!, layers } as Manifest;
  return { manifest, config: { rootfs: { type: 'layers', diff_ids: diffIds } } as unknown as ImageConfig };
}

test('a chunk index that is a layer of its own has the name of its digest, which leads to its layer', () => {
  const layers = [spec('a', digest('1')), indexOf('b', digest('a')), spec('c', digest('2'))];
  const shown = ownLayers(image(layers, [digest('1'), digest('b'), digest('2')]), origin);
  expect(shown.map(({ name, request }) => [name, request.descriptor.digest, request.index?.digest])).toEqual([
    [digest('1'), digest('a'), digest('b')],
    [digest('b'), digest('a'), digest('b')],
    [digest('2'), digest('c'), undefined],
  ]);
});

test('a config that says other DiffIDs is refused: they may be those of another image', () => {
  const layers = [spec('a', digest('1')), indexOf('b', digest('a')), spec('c', digest('2'))];
  for (const diffIds of [
    [digest('9'), digest('b'), digest('2')],
    [digest('1'), digest('9'), digest('2')],
  ]) {
    expect(() => ownLayers(image(layers, diffIds), origin)).toThrow(refusal('UNSUPPORTED', 'its DiffID'));
  }
});

test.each(['device', 'overlay-data'])(
  'an image with a layer of role %s is refused: containerd would mount that as a lower one',
  (role) => {
    const { annotations, ...layer } = spec('a', digest('1'));
    const layers = [
      { ...layer, annotations: { ...annotations, 'org.erofs.role': role } },
      spec('c', digest('2')),
    ];
    const showing = () => ownLayers(image(layers, [digest('1'), digest('2')]), origin);
    expect(showing).toThrow(refusal('UNSUPPORTED', `the role ${role}`));
  },
);
