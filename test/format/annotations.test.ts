import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { ContainerdSeekable, SpecSeekable } from '../../src/format/annotations';
import {
  containerdAnnotations,
  readSeekableAnnotations,
  seekableAnnotationNames,
  specAnnotations,
  stripSeekableAnnotations,
  writeContainerdAnnotations,
  writeSpecAnnotations,
} from '../../src/format/annotations';
import { goodBlobs } from '../support/golden';
import { refusal } from '../support/refusal';

const sha256 = `sha256:${'1'.repeat(64)}`;
const sha512 = `sha512:${'2'.repeat(128)}`;
const offsets = fc.maxSafeNat();
const digests = fc.constantFrom(sha256, sha512);
const digestsOrNull = fc.option(digests);

const containerdBlobs: fc.Arbitrary<ContainerdSeekable> = fc.record({
  profile: fc.constant('containerd' as const),
  tableOffset: offsets,
  tableDigest: fc.constantFrom(sha512, null),
  verity: fc.option(fc.record({ offset: offsets, rootDigest: digests })),
});

const specBlobs: fc.Arbitrary<SpecSeekable> = fc
  .record({
    profile: fc.constant('erofs-image-spec' as const),
    range: fc.constantFrom<[number | null, number | null][]>(
      [null, null],
      [0, null],
      [8, 9],
      [2 ** 40, 2 ** 53 - 1],
    ),
    indexDigest: digestsOrNull,
    indexMediaType: fc.constant('application/vnd.erofs.chunk-index.v1'),
    indexTarget: digestsOrNull,
    uncompressedDigest: digestsOrNull,
    verity: fc.option(
      fc.record({ hashOffset: offsets, rootDigest: digests, blockSize: fc.constantFrom(512, 4096, 65_536) }),
    ),
    role: fc.constantFrom(null, 'overlay-lower', 'overlay-data', 'device', 'something new'),
  })
  .map(({ range: [indexStart, indexEnd], ...rest }) => ({ ...rest, indexStart, indexEnd }));

const { tableOffset, tableDigest, verityOffset, verityRoot } = containerdAnnotations;

describe('annotations of profile containerd', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(containerdBlobs, (blob) => {
        expect(readSeekableAnnotations(writeContainerdAnnotations(blob))).toEqual(blob);
      }),
    );
  });

  it('are the same as the reference writes', () => {
    for (const { annotations, inspect } of goodBlobs()) {
      const read = readSeekableAnnotations(annotations);
      expect(read).toMatchObject({ tableOffset: inspect.table_offset, tableDigest: inspect.table_digest });
      expect(writeContainerdAnnotations(read as ContainerdSeekable)).toEqual(annotations);
    }
  });

  it.each([
    '',
    '-1',
    '+1',
    ' 1',
    '1 ',
    '01',
    '1.0',
    '1e3',
    '0x10',
    '9007199254740992',
    '99999999999999999999',
    '1\n',
    '1:2',
    '１',
  ])('refuse the offset %j', (text) => {
    expect(() => readSeekableAnnotations({ [tableOffset]: text })).toThrow(refusal('CORRUPT', tableOffset));
    expect(() =>
      readSeekableAnnotations({ [tableOffset]: '1', [verityOffset]: text, [verityRoot]: sha512 }),
    ).toThrow(refusal('CORRUPT', verityOffset));
  });

  it('refuse digests that are none, and what is no string', () => {
    for (const name of [tableDigest, verityRoot]) {
      const good = { [tableOffset]: '1', [verityOffset]: '2', [verityRoot]: sha512 };
      expect(() => readSeekableAnnotations({ ...good, [name]: 'abc' })).toThrow(refusal('CORRUPT', name));
    }
    expect(() => readSeekableAnnotations({ [tableOffset]: 1 })).toThrow(
      refusal('CORRUPT', 'no string but number'),
    );
    expect(() => readSeekableAnnotations({ [tableOffset]: null })).toThrow(refusal('CORRUPT', 'no string'));
  });

  it('refuse a table digest that is no SHA-512, as the reference does', () => {
    const annotations = { [tableOffset]: '1', [tableDigest]: sha256 };
    expect(() => readSeekableAnnotations(annotations)).toThrow(refusal('CORRUPT', tableDigest));
  });

  it('refuse half of a pair', () => {
    expect(() => readSeekableAnnotations({ [tableOffset]: '1', [verityOffset]: '9' })).toThrow(
      refusal('MISMATCH', verityRoot),
    );
    expect(() => readSeekableAnnotations({ [tableOffset]: '1', [verityRoot]: sha512 })).toThrow(
      refusal('MISMATCH', verityOffset),
    );
    expect(() => readSeekableAnnotations({ [verityOffset]: '1', [verityRoot]: sha512 })).toThrow(
      refusal('MISMATCH', tableOffset),
    );
    expect(() => readSeekableAnnotations({ [tableDigest]: sha512 })).toThrow(
      refusal('MISMATCH', tableOffset),
    );
  });

  it('exclude an index of the other profile', () => {
    expect(() => readSeekableAnnotations({ [tableOffset]: '1', [specAnnotations.indexRange]: '2' })).toThrow(
      refusal('MISMATCH', 'exclude each other'),
    );
  });
});

describe('annotations of profile erofs-image-spec', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(specBlobs, (blob) => {
        expect(readSeekableAnnotations(writeSpecAnnotations(blob))).toEqual(blob);
      }),
    );
  });

  it('have defaults', () => {
    const { verityOffset: hashOffset, verityRoot: root, role } = specAnnotations;
    expect(readSeekableAnnotations({ [hashOffset]: '4096', [root]: sha256 })).toEqual({
      profile: 'erofs-image-spec',
      indexStart: null,
      indexEnd: null,
      indexDigest: null,
      indexMediaType: 'application/vnd.erofs.chunk-index.v1',
      indexTarget: null,
      uncompressedDigest: null,
      verity: { hashOffset: 4096, rootDigest: sha256, blockSize: 4096 },
      role: null,
    });
    expect(readSeekableAnnotations({ [role]: 'device', 'org.erofs.unheard-of': '?' })).toMatchObject({
      role: 'device',
    });
  });

  it.each(['', ':', '1:', ':2', '1:2:3', '2:1', '1:1', '-1:2', '1: 2', '1-2'])(
    'refuse the range %j',
    (range) => {
      expect(() => readSeekableAnnotations({ [specAnnotations.indexRange]: range })).toThrow(
        refusal('CORRUPT', specAnnotations.indexRange),
      );
    },
  );

  it('refuse half of a pair, and a block size that is none', () => {
    const { verityOffset: hashOffset, verityRoot: root, verityBlockSize } = specAnnotations;
    expect(() => readSeekableAnnotations({ [hashOffset]: '1' })).toThrow(refusal('MISMATCH', root));
    expect(() => readSeekableAnnotations({ [root]: sha256 })).toThrow(refusal('MISMATCH', hashOffset));
    for (const blockSize of ['0', '1000', '1048576']) {
      expect(() =>
        readSeekableAnnotations({ [hashOffset]: '1', [root]: sha256, [verityBlockSize]: blockSize }),
      ).toThrow(refusal('CORRUPT', blockSize));
    }
  });
});

describe('annotations', () => {
  it('that are of others say nothing', () => {
    expect(readSeekableAnnotations(undefined)).toBeNull();
    expect(readSeekableAnnotations({})).toBeNull();
    expect(
      readSeekableAnnotations({ 'org.opencontainers.image.title': 'x', 'org.erofs.unheard-of': 'y' }),
    ).toBeNull();
  });

  it('of ours go, and others stay, when a layer is encoded anew', () => {
    const ours = Object.fromEntries(seekableAnnotationNames.map((name) => [name, 'x']));
    expect(Object.keys(ours).length).toBe(15);
    expect(stripSeekableAnnotations({ ...ours, 'org.example': 'kept' })).toEqual({ 'org.example': 'kept' });
  });
});
