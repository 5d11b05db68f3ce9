import { writeErofs, type ErofsEntry } from '../erofs-writer';
import { writeSpecBlob } from '../spec-writer';
import { addData, addDevices } from './composite-vectors';
import { embedded, erofs, erofsZstd, raw, sha256, standalone, zstdOnly, type IndexChoices, type VectorLayer } from './layers';
import { addOrders } from './order-vectors';
import { bad, file, good, lower, sample, sampleImage, top, topImage, vectors, type Vector } from './vector';

function addLayers(): void {
  good('raw', '3.2', 'an image as it is', [raw(sampleImage)]);
  good('raw-512', '3.2', 'blocks of 512 bytes', [raw(writeErofs(sample, { blockSize: 512 }))]);
  good('zstd-no-index', '3.3', 'read from its beginning to its end', [zstdOnly(sampleImage, erofsZstd)]);
  for (const zstd of [true, false]) {
    const kind = zstd ? 'zstd' : 'raw';
    const add = (name: string, about: string, choices: IndexChoices): void => {
      good(`${kind}-${name}`, '3.4', about, [embedded(sampleImage, zstd, {}, choices)]);
    };
    add('index', 'an index in the blob, checksums SHA-512', {});
    add('index-sha256', 'checksums SHA-256, index digest sha256', { hash: 'sha256', digest: 'sha256' });
    add('index-no-checksums', 'no checksums', { hash: 'none' });
    add('index-unequal', 'chunks of unequal length', { borders: [1, 5000, 5001, 12288] });
    add('index-one-chunk', 'one chunk', { borders: [] });
    add('index-open-range', 'the range has no end', { openRange: true });
    add('index-flags', 'unknown flags: the index is not read, the layer is', { flags: 0x8000 });
    add('index-compression', 'an unknown compression type: likewise', { compression: 2 });
    add('index-other-type', 'an index of another media type: likewise', {
      mediaType: 'application/vnd.erofs.chunk-index.v9',
    });
    const verity = { algorithm: 'sha256', blockSize: 4096 } as const;
    const blob = writeSpecBlob(sampleImage, {
      chunkSize: 4096,
      compression: zstd ? 'zstd' : 'none',
      index: 'embedded',
      verity,
    });
    good(`${kind}-verity`, '3.5', 'a dm-verity tree behind the image', [
      { mediaType: zstd ? erofsZstd : erofs, ...blob },
    ]);
  }
  good('zstd-index-padding', '3.4.3', 'a skippable frame of zeros before that of the index', [
    embedded(sampleImage, true, {}, { padding: true }),
  ]);
  good('unknown-annotation', '10.1', 'an annotation that nobody knows', [
    raw(sampleImage, { 'not-known': 'x' }),
  ]);
}

function addBrokenLayers(): void {
  const blob = (name: string, about: string, choices: IndexChoices, zstd = true): void => {
    bad(name, '3.4', about, 'chunk-index', [embedded(sampleImage, zstd, {}, choices)]);
  };
  blob('index-reserved', 'a reserved byte that is not zero', { reserved: 1 });
  blob('index-too-long', 'bytes behind the last entry', { more: 1 });
  blob('index-digest', 'another digest than the annotation says', { digest: 'wrong' });
  blob('index-magic', 'another magic', { magic: [0xcd, 0xe4, 0xec, 0x68] });
  blob('index-checksum', 'a wrong checksum of a chunk', { wrongChecksum: true });
  blob('index-says-raw', 'it says that chunks of a +zstd layer are uncompressed', { compression: 0 });
  blob('index-says-zstd', 'it says that chunks of a raw layer are zstd', { compression: 1 }, false);
  bad('diff-id', '5.2', 'the data is not what the DiffID says', 'digest', [
    { ...embedded(sampleImage, true, { 'uncompressed-digest': sha256(topImage) }), diffId: sha256(topImage) },
  ]);
  const verity = { algorithm: 'sha256', blockSize: 4096 } as const;
  const layer = writeSpecBlob(sampleImage, {
    chunkSize: 4096,
    compression: 'zstd',
    index: 'embedded',
    verity,
  });
  const wrong = (name: string, about: string, annotation: string, value: string): void => {
    const annotations = { ...layer.annotations, [`org.erofs.dmverity.${annotation}`]: value };
    bad(name, '3.5', about, 'dm-verity', [{ mediaType: erofsZstd, ...layer, annotations }]);
  };
  wrong('verity-root', 'another root digest than the tree has', 'root_digest', sha256(topImage));
  wrong('verity-offset', 'a tree that begins within a block', 'hash_offset', `${sampleImage.length - 1}`);
}

/** What is seen of three lower layers. */
const merged: ErofsEntry[] = [
  file('kept', 'of the bottom\n'),
  file('changed', 'by the top\n'),
  file('opaque/new', 'seen\n'),
  file('merged/low', '1\n'),
  file('merged/high', '2\n'),
];

function addOverlays(): void {
  const bottom = writeErofs([
    file('kept', 'of the bottom\n'),
    file('changed', 'was\n'),
    file('gone', 'x\n'),
    file('opaque/old', 'x\n'),
    file('merged/low', '1\n'),
  ]);
  const middle = writeErofs([
    { path: 'gone', type: 'char', mode: 0 },
    { path: 'opaque', type: 'dir', xattrs: { 'trusted.overlay.opaque': 'y' } },
    file('opaque/new', 'seen\n'),
    file('merged/high', '2\n'),
  ]);
  const upper = writeErofs([file('changed', 'by the top\n')]);
  const three = (role: Record<string, string>): VectorLayer[] => [
    raw(bottom, lower),
    embedded(middle, true, role),
    embedded(upper, true),
  ];
  good('overlay', '3.6, 7', 'three layers: a whiteout, an opaque directory', three(lower), merged);
  good('overlay-no-role', '7', 'a layer without a role in the middle', three({}), merged);
  good(
    'top-is-lower',
    '3.8',
    'the last layer has the role overlay-lower',
    [raw(bottom, lower), raw(middle, lower), raw(upper, lower)],
    merged,
  );
  good(
    'lone-indexes',
    '3.4.3',
    'indexes in layers of their own, with and without a target',
    [
      ...standalone(bottom, erofsZstd, lower),
      ...standalone(middle, erofs, lower, { target: null }),
      embedded(upper, true),
    ],
    merged,
  );
  good(
    'whiteout-below-nothing',
    '3.6',
    'a whiteout in the lowest layer, where it hides nothing: no reason to refuse',
    [raw(writeErofs([{ path: 'no', type: 'char', mode: 0 }, file('yes', 'y\n')]), lower), raw(topImage)],
    [file('yes', 'y\n'), ...top],
  );
}

function addConfigs(): void {
  const layers = [embedded(sampleImage, true, lower), raw(topImage)];
  const tree = [...sample, ...top];
  good('no-rootfs', '5.1', 'a config without rootfs', layers, tree, { diffIds: 'none' });
  good('no-diff-ids', '5.2', 'a config without rootfs.diff_ids', layers, tree, { diffIds: null });
  good('annotation-wins', '5.2', 'a wrong DiffID in the config, and a right one on the layer', layers, tree, {
    diffIds: [sha256(Buffer.from('wrong')), sha256(topImage)],
  });
  const { annotations, ...silent } = embedded(sampleImage, true);
  delete annotations['org.erofs.uncompressed-digest'];
  good('config-only', '5.2', 'the DiffID is in the config only', [{ ...silent, annotations }]);
  bad(
    'diff-ids-none',
    '5.2',
    'a compressed layer whose DiffID nobody says',
    'diff-ids',
    [{ ...silent, annotations }],
    {
      diffIds: 'none',
    },
  );
  bad(
    'diff-ids-short',
    '5.2',
    'fewer DiffIDs than layers, and no annotation',
    'diff-ids',
    [{ ...silent, annotations: { ...annotations, 'org.erofs.role': 'overlay-lower' } }, raw(topImage)],
    { diffIds: [sha256(sampleImage)] },
  );
}

/** All vectors; the same each time. */
export function allVectors(): Vector[] {
  vectors.length = 0;
  for (const add of [addLayers, addBrokenLayers, addOverlays, addDevices, addData, addConfigs, addOrders])
    add();
  return vectors;
}
