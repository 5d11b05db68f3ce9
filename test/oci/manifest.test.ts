import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/format/digest';
import { dockerTypes, ociTypes } from './samples';
import { parseDescriptor } from '../../src/oci/descriptor';
import { serializeJson } from '../../src/format/json';
import { parseJsonObject } from '../../src/oci/json';
import { flattenIndex, parseIndex, parseManifest, readManifest } from '../../src/oci/manifest';
import type { Descriptor, Index } from '../../src/oci/types';
import { caught } from '../support/caught';
import { descriptor, digest, json, manifest } from './samples';

describe('parseDescriptor', () => {
  it('keeps unknown members and drops nulls', () => {
    const value = { ...descriptor(), annotations: null, platform: null, extra: { a: [1] } };
    expect(parseDescriptor(value, 'x')).toEqual({ ...descriptor(), extra: { a: [1] } });
  });

  it.each<[string, unknown]>([
    ['no object', 'x'],
    ['null', null],
    ['an array', []],
    ['no media type', { digest, size: 1 }],
    ['a path in the digest', { ...descriptor(), digest: 'sha256:../../x' }],
    ['a path as long as a digest', { ...descriptor(), digest: `sha256:${'../'.repeat(21)}x` }],
    ['an unknown algorithm', { ...descriptor(), digest: `md5:${'a'.repeat(32)}` }],
    ['upper case', { ...descriptor(), digest: `sha256:${'A'.repeat(64)}` }],
    ['a digest with a newline', { ...descriptor(), digest: `${digest}\n` }],
    ['a digest in an array', { ...descriptor(), digest: [digest] }],
    ['no digest', { mediaType: 'x', size: 1 }],
    ['a negative size', { ...descriptor(), size: -1 }],
    ['a fraction', { ...descriptor(), size: 1.5 }],
    ['a size beyond 2^53', { ...descriptor(), size: 2 ** 53 }],
    ['a size as text', { ...descriptor(), size: '1' }],
    ['annotations in an array', { ...descriptor(), annotations: ['x'] }],
    ['a number as annotation', { ...descriptor(), annotations: { a: 1 } }],
    ['urls that are none', { ...descriptor(), urls: [1] }],
    ['a platform without os', { ...descriptor(), platform: { architecture: 'amd64' } }],
    [
      'os.features that are no array',
      { ...descriptor(), platform: { os: 'linux', architecture: 'a', 'os.features': 'x' } },
    ],
  ])('refuses %s', async (_, value) => {
    expect((await caught(() => parseDescriptor(value, 'x'))).code).toBe('CORRUPT');
  });
});

describe('parseManifest', () => {
  it('keeps the order and the unknown members', () => {
    const text = JSON.stringify({ ...manifest(2), x: 1, annotations: { a: 'b' } });
    expect(JSON.stringify(parseManifest(Buffer.from(text), 'm'))).toBe(text);
  });
  it('takes Docker schema 2, and null for no layers', () => {
    const parsed = parseManifest(
      json({ ...manifest(0), mediaType: dockerTypes.manifest, layers: null }),
      'm',
    );
    expect(parsed.layers).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ['schema 1', { schemaVersion: 1 }, 'UNSUPPORTED'],
    [
      'schema 1 by its type',
      { ...manifest(1), mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws' },
      'UNSUPPORTED',
    ],
    ['10001 layers', { ...manifest(0), layers: Array(10_001).fill(descriptor()) }, 'UNSUPPORTED'],
    ['no version', { ...manifest(1), schemaVersion: undefined }, 'CORRUPT'],
    ['another media type', { ...manifest(1), mediaType: ociTypes.index }, 'CORRUPT'],
    ['a manifest that is an index too', { ...manifest(1), manifests: [] }, 'CORRUPT'],
    ['no config', { ...manifest(1), config: undefined }, 'CORRUPT'],
    ['no layers', { ...manifest(1), layers: undefined }, 'CORRUPT'],
    ['layers that are no array', { ...manifest(1), layers: { length: 1 } }, 'CORRUPT'],
    ['a bad layer', { ...manifest(1), layers: [{ ...descriptor(), size: -5 }] }, 'CORRUPT'],
  ])('refuses %s', async (_, value, code) => {
    expect((await caught(() => parseManifest(json(value), 'm'))).code).toBe(code);
  });

  it.each(['', '{', '[]', 'null', '\ufeff{}', '"x"'])('refuses the JSON %j', async (text) => {
    expect((await caught(() => parseManifest(Buffer.from(text), 'm'))).code).toBe('CORRUPT');
  });
  it('refuses what is no UTF-8', async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"schemaVersion":2,"x":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    expect((await caught(() => parseManifest(bytes, 'm'))).code).toBe('CORRUPT');
  });
});

describe('serializeJson', () => {
  it('keeps a member called __proto__ a member', () => {
    const text = '{"mediaType":"a","digest":"' + digest + '","size":1,"__proto__":{"x":1}}';
    const parsed = parseDescriptor(parseJsonObject(Buffer.from(text), 'x'), 'x');
    expect(serializeJson(parsed, 'x').toString()).toBe(text);
  });
});

/** A store whose blobs are known by their bytes. */
class Blobs {
  private readonly blobs = new Map<string, Buffer>();
  reads = 0;

  add(mediaType: string, value: unknown): Descriptor {
    const bytes = json(value);
    this.blobs.set(digestOf(bytes), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  }

  async readJson({ digest: key }: Descriptor): Promise<Buffer> {
    this.reads++;
    return this.blobs.get(key)!;
  }
}

function index(manifests: Descriptor[]): Index {
  return { schemaVersion: 2, mediaType: ociTypes.index, manifests };
}

describe('readManifest', () => {
  it('goes by the media type', async () => {
    const store = new Blobs();
    const image = store.add(ociTypes.manifest, manifest(1));
    const list = store.add(dockerTypes.index, {
      schemaVersion: 2,
      mediaType: dockerTypes.index,
      manifests: [image],
    });
    expect(await readManifest(store, image)).toMatchObject({ kind: 'manifest' });
    expect(await readManifest(store, list)).toMatchObject({ kind: 'index', index: { manifests: [image] } });
  });
  it('reads an index neither as a manifest nor the other way round', async () => {
    const store = new Blobs();
    const image = store.add(ociTypes.index, { ...manifest(1), mediaType: undefined });
    const list = store.add(ociTypes.manifest, { ...index([]), mediaType: undefined });
    expect((await caught(() => readManifest(store, image))).code).toBe('CORRUPT');
    expect((await caught(() => readManifest(store, list))).code).toBe('CORRUPT');
  });
  it('refuses other media types without reading them', async () => {
    const store = new Blobs();
    const error = await caught(() => readManifest(store, { ...descriptor(), mediaType: 'text/plain' }));
    expect([error.code, store.reads]).toEqual(['UNSUPPORTED', 0]);
  });
});

describe('flattenIndex', () => {
  function nested(store: Blobs, depth: number, width: number): Index {
    let entries = [descriptor()];
    for (let i = 1; i < depth; i++)
      entries = Array<Descriptor>(width).fill(store.add(ociTypes.index, index(entries)));
    return index(entries);
  }

  it('puts nested ones in their place', async () => {
    const store = new Blobs();
    const [a, b, c] = [1, 2, 3].map((size) => ({ ...descriptor(), size })) as [
      Descriptor,
      Descriptor,
      Descriptor,
    ];
    const inner = store.add(ociTypes.index, index([b]));
    expect(await flattenIndex(store, index([a, inner, c]), 'x')).toEqual([a, b, c]);
  });
  it('takes 4 levels and no more', async () => {
    const store = new Blobs();
    expect(await flattenIndex(store, nested(store, 4, 1), 'x')).toHaveLength(1);
    expect((await caught(() => flattenIndex(store, nested(store, 5, 1), 'x'))).code).toBe('UNSUPPORTED');
  });
  it('does not follow an index that names one other index ten thousand times on every level', async () => {
    const store = new Blobs();
    expect((await caught(() => flattenIndex(store, nested(store, 4, 10_000), 'x'))).code).toBe('UNSUPPORTED');
    expect(store.reads).toBeLessThan(10_001);
  });
  it('refuses more than 10000 entries, and an index with layers', async () => {
    const many = { ...index([]), manifests: Array(10_001).fill(descriptor()) };
    expect((await caught(() => parseIndex(json(many), 'x'))).code).toBe('UNSUPPORTED');
    expect((await caught(() => parseIndex(json({ ...index([]), layers: [] }), 'x'))).code).toBe('CORRUPT');
  });
});
