import { describe, expect, it } from 'vitest';
import { appendToIndex } from '../../src/convert/append-to-index';
import type { ImagePair } from '../../src/oci/erofs-platform';
import { emptyIndex } from '../../src/oci/manifest';
import { digestOf } from '../../src/format/digest';
import { omit } from '../../src/oci/json';
import type { Descriptor, Index } from '../../src/oci/types';

function entry(name: string, platform?: string, features?: string[]): Descriptor {
  const [os, architecture, variant] = (platform ?? '').split('/');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const base = { mediaType, digest: digestOf(Buffer.from(name)), size: 1 };
  if (platform === undefined) return base;
  const named = { os: os!, architecture: architecture!, ...(variant !== undefined && { variant }) };
  return { ...base, platform: { ...named, ...(features && { 'os.features': features }) } };
}

const pair = (name: string, platform: string): ImagePair => ({
  tar: entry(`${name} tar`, platform),
  erofs: entry(`${name} erofs`, platform, ['erofs']),
});
const index = (...manifests: Descriptor[]): Index => ({ ...emptyIndex(), manifests });

describe('an index to which an image is added', () => {
  const a = pair('a', 'linux/amd64');
  const b = pair('b', 'linux/arm64');

  it('has the tars first, then what was made of them', () => {
    expect(appendToIndex(emptyIndex(), [a, b]).manifests).toEqual([a.tar, a.erofs, b.tar, b.erofs]);
  });

  it('keeps the others, their order, and its own members', () => {
    const artifact = entry('artifact');
    const old = { ...index(artifact, b.tar, b.erofs), annotations: { x: 'y' } };
    const now = appendToIndex(old, [a]);
    expect(now).toEqual({ ...old, manifests: [artifact, b.tar, b.erofs, a.tar, a.erofs] });
    expect(appendToIndex(now, [a])).toEqual(now);
    expect(appendToIndex(now, [b])).toEqual(now);
  });

  it('has new ones in the place of older ones for the platform', () => {
    const old = pair('old', 'linux/arm64/v8');
    const now = appendToIndex(index(old.tar, old.erofs, a.tar), [b]);
    expect(now.manifests).toEqual([b.tar, b.erofs, a.tar]);
  });

  it('puts the tars before an EROFS image that was there alone', () => {
    expect(appendToIndex(index(a.erofs), [a]).manifests).toEqual([a.tar, a.erofs]);
    expect(appendToIndex(index(a.tar), [a]).manifests).toEqual([a.tar, a.erofs]);
  });

  it('keeps images for other versions and features of the platform', () => {
    const others = [
      { ...a.tar, digest: digestOf(Buffer.from('x')), platform: { ...a.tar.platform!, 'os.version': '1' } },
      entry('special', 'linux/amd64', ['special']),
      entry('none'),
    ];
    expect(appendToIndex(index(...others), [a]).manifests).toEqual([...others, a.tar, a.erofs]);
  });

  it('keeps one image for two platforms twice', () => {
    const on = (platform: string): ImagePair => {
      const [tar, erofs] = [entry('both tar', platform), entry('both erofs', platform, ['erofs'])];
      return { tar, erofs };
    };
    const pairs = [on('linux/arm/v6'), on('linux/arm/v7')];
    const now = appendToIndex(emptyIndex(), pairs);
    expect(now.manifests).toEqual(pairs.flatMap(({ tar, erofs }) => [tar, erofs]));
    expect(appendToIndex(now, pairs)).toEqual(now);
  });

  it('has an image once that was there without features, or without a platform', () => {
    const bare = omit(a.tar, 'platform');
    const plain = { ...a.erofs, platform: a.tar.platform! };
    expect(appendToIndex(index(plain), [a]).manifests).toEqual([a.tar, a.erofs]);
    expect(appendToIndex(index(bare), [a]).manifests).toEqual([a.tar, a.erofs]);
  });

  it('is the same when they are added again, whatever was there', () => {
    const platforms = ['linux/amd64', 'linux/arm64', 'linux/arm64/v8', undefined];
    const known = platforms.flatMap((platform) =>
      ['a', 'b'].flatMap((name) => [
        entry(`${name} tar`, platform),
        entry(`${name} erofs`, platform, ['erofs']),
      ]),
    );
    for (let seed = 1; seed < 500; seed++) {
      const chosen = known.filter((_, i) => (seed * 2_654_435_761) & (1 << (i + 3)));
      const pairs = [pair('a', 'linux/arm64'), pair(seed % 2 === 0 ? 'a' : 'b', 'linux/amd64')];
      const once = appendToIndex(index(...chosen), pairs);
      expect(appendToIndex(once, pairs)).toEqual(once);
    }
  });

  it('has an image that was EROFS already once', () => {
    expect(appendToIndex(emptyIndex(), [{ tar: a.erofs, erofs: a.erofs }]).manifests).toEqual([a.erofs]);
  });

  it('loses the attestations of images that go, no others', () => {
    const old = pair('old', 'linux/amd64');
    const attest = (of: Descriptor): Descriptor => ({
      ...entry(`attestation of ${of.digest}`, 'unknown/unknown'),
      annotations: { 'vnd.docker.reference.digest': of.digest },
    });
    const now = appendToIndex(index(old.tar, b.tar, attest(old.tar), attest(b.tar)), [a]);
    expect(now.manifests).toEqual([a.tar, a.erofs, b.tar, attest(b.tar)]);
  });
});
