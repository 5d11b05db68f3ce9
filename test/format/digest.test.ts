import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { DigestAlgorithm } from '../../src/format/digest';
import {
  checkDigestOf,
  checkSameDigest,
  digestBytes,
  digestOf,
  digestSizes,
  formatDigest,
  isDigest,
  parseDigest,
} from '../../src/format/digest';
import { refusal } from '../support/refusal';

const emptySha256 = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

describe('digest', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<DigestAlgorithm[]>('sha256', 'sha512'),
        fc.infiniteStream(fc.nat(255)),
        (algorithm, stream) => {
          const hash = Uint8Array.from(
            { length: digestSizes[algorithm] },
            () => stream.next().value as number,
          );
          const text = formatDigest(algorithm, hash);
          expect(isDigest(text)).toBe(true);
          expect(parseDigest(text).algorithm).toBe(algorithm);
          expect(new Uint8Array(digestBytes(text))).toEqual(hash);
        },
      ),
    );
  });

  it.each([
    '',
    'sha256',
    'sha256:',
    emptySha256.toUpperCase(),
    emptySha256.slice(0, -1),
    `${emptySha256}0`,
    `${emptySha256}\n`,
    ` ${emptySha256}`,
    emptySha256.replace('sha256', 'sha512'),
    emptySha256.replace('sha256', 'sha1'),
    emptySha256.replace('e', 'g'),
  ])('is not %j', (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text, 'layer 3')).toThrow(refusal('CORRUPT', 'layer 3: '));
  });

  it('hashes and compares', () => {
    expect(digestOf(Buffer.alloc(0))).toBe(emptySha256);
    expect(digestOf(Buffer.from('abc'), 'sha512')).toMatch(/^sha512:ddaf35a1/);
    checkSameDigest('blob', emptySha256, emptySha256);
    checkDigestOf('blob', digestOf(Buffer.from('abc'), 'sha512'), Buffer.from('abc'));
    expect(() => {
      checkDigestOf('blob', emptySha256, Buffer.from('abc'));
    }).toThrow(refusal('MISMATCH', `expected ${emptySha256}`));
  });

  it('refuses a hash of the wrong length', () => {
    expect(() => formatDigest('sha512', new Uint8Array(32))).toThrow(refusal('USAGE', '32 bytes'));
  });
});
