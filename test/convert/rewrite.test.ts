import { describe, expect, it } from 'vitest';
import type { NewLayer } from '../../src/convert/placed-layers';
import { withErofsFeature } from '../../src/oci/erofs-platform';
import { rewriteImage, rewriteIndex } from '../../src/convert/rewrite';
import { digestOf } from '../../src/format/digest';
import { checkLayerCount, parseImageConfig } from '../../src/oci/config';
import { parseIndex, parseManifest } from '../../src/oci/manifest';
import type { Descriptor } from '../../src/oci/types';
import { caught } from '../support/caught';
import { config, descriptor, digest, dockerTypes, manifest, ociTypes } from '../oci/samples';

function newLayers(count: number): NewLayer[] {
  return Array.from({ length: count }, (_, i) => ({
    descriptor: {
      mediaType: 'application/vnd.erofs.layer.v1+zstd',
      digest: digestOf(Buffer.from(`blob ${i}`)),
      size: i,
    },
    diffId: digestOf(Buffer.from(`diff ${i}`)),
  }));
}

describe('rewriteImage', () => {
  it('gives an OCI image of the new layers, with documents that match their descriptors', () => {
    const layers = newLayers(2);
    const { manifest: m, config: c } = rewriteImage(manifest(2), config(2), layers, { what: 'x' });
    expect(c.descriptor).toEqual({
      mediaType: ociTypes.config,
      digest: digestOf(c.bytes),
      size: c.bytes.length,
    });
    expect(m.value.config).toEqual(c.descriptor);
    expect(m.value.layers).toEqual(layers.map((layer) => layer.descriptor));
    expect(m.descriptor).toEqual({
      mediaType: ociTypes.manifest,
      digest: digestOf(m.bytes),
      size: m.bytes.length,
    });
    const parsed = parseImageConfig(c.bytes, 'c');
    expect(parsed.rootfs?.diff_ids).toEqual(layers.map((layer) => layer.diffId));
    expect(parsed['os.features']).toEqual(['erofs']);
    expect(parsed.history).toEqual(config(2).history);
    checkLayerCount(parseManifest(m.bytes, 'm'), parsed, 'x');
  });

  it('keeps annotations, unknown members and their order', () => {
    const oldManifest = { ...manifest(1), annotations: { a: 'b' }, x: [1], subject: descriptor() };
    oldManifest.config = { ...descriptor(ociTypes.config), annotations: { c: 'd' } };
    const oldConfig = { ...config(1), author: 'me', 'os.features': ['win32k'], y: null };
    const { manifest: m, config: c } = rewriteImage(oldManifest, oldConfig, newLayers(1), { what: 'x' });
    expect(Object.keys(m.value)).toEqual(Object.keys(oldManifest));
    expect(m.value).toMatchObject({ annotations: { a: 'b' }, x: [1], subject: descriptor() });
    expect(m.value.config.annotations).toEqual({ c: 'd' });
    expect(Object.keys(c.value)).toEqual(Object.keys(oldConfig));
    expect(c.value).toMatchObject({
      author: 'me',
      y: null,
      'os.features': ['win32k', 'erofs'],
      config: { Cmd: ['/bin/sh'] },
    });
  });

  it('makes OCI of Docker, without the machine that built it', () => {
    const docker = { ...config(1), container: 'abc', container_config: { Cmd: [] }, docker_version: '20.10' };
    const { manifest: m, config: c } = rewriteImage(manifest(1, dockerTypes), docker, newLayers(1), {
      what: 'x',
    });
    expect(m.value.mediaType).toBe(ociTypes.manifest);
    expect(m.value.config.mediaType).toBe(ociTypes.config);
    expect(m.bytes.toString() + c.bytes.toString()).not.toMatch(/docker|container/);
  });

  it('drops annotations of other lazy formats, of EROFS layers that stay as well, not of a tar', () => {
    const lazy = {
      'containerd.io/snapshot/stargz/toc.digest': digest,
      'io.containers.estargz.uncompressed-size': '1',
      'io.github.containers.zstd-chunked.manifest-checksum': digest,
      'io.github.containers.zstd-chunked.manifest-position': '1:2:3:4',
      'com.amazon.soci.index-digest': digest,
    };
    const annotations = { kept: 'yes', ...lazy };
    const old = { ...manifest(2), annotations, config: { ...descriptor(ociTypes.config), annotations } };
    const [erofs, tar] = newLayers(2);
    const layers = [
      { ...erofs!, descriptor: { ...erofs!.descriptor, annotations } },
      { ...tar!, descriptor: { ...tar!.descriptor, mediaType: ociTypes.layer, annotations } },
    ];
    const { value } = rewriteImage(old, config(2), layers, { what: 'x' }).manifest;
    expect(value.annotations).toEqual({ kept: 'yes' });
    expect(value.config.annotations).toEqual({ kept: 'yes' });
    expect(value.layers.map((layer) => layer.annotations)).toEqual([{ kept: 'yes' }, annotations]);
  });

  it('drops what was embedded of the old config', () => {
    const old = manifest(1);
    old.config = { ...old.config, data: 'e30=', urls: ['https://x/'] };
    expect(
      Object.keys(rewriteImage(old, config(1), newLayers(1), { what: 'x' }).manifest.value.config),
    ).toEqual(['mediaType', 'digest', 'size']);
  });

  it('is the same image when it is rewritten again', () => {
    const once = rewriteImage(manifest(2), config(2), newLayers(2), { what: 'x' });
    const twice = rewriteImage(once.manifest.value, once.config.value, newLayers(2), { what: 'x' });
    expect(twice.manifest.descriptor).toEqual(once.manifest.descriptor);
  });

  it('takes the platform that an index had', () => {
    const platform = { os: 'linux', architecture: 'amd64', variant: 'v3', 'os.features': ['erofs'] };
    expect(
      rewriteImage(manifest(1), config(1), newLayers(1), { what: 'x', platform }).manifest.descriptor
        .platform,
    ).toEqual(platform);
  });

  it('refuses counts that differ', async () => {
    expect((await caught(() => rewriteImage(manifest(2), config(1), newLayers(2), { what: 'x' }))).code).toBe(
      'CORRUPT',
    );
    expect(() => rewriteImage(manifest(2), config(2), newLayers(1), { what: 'x' })).toThrow(RangeError);
  });
});

describe('rewriteIndex', () => {
  const source: Descriptor = {
    ...descriptor(dockerTypes.manifest),
    platform: { os: 'linux', architecture: 'amd64' },
    annotations: { kept: 'yes' },
    data: 'AAAA',
  };

  it('gives an OCI index whose entries inherit annotations, not embedded content', () => {
    const image = {
      mediaType: ociTypes.manifest,
      digest,
      size: 9,
      platform: withErofsFeature(source.platform!),
    };
    const old = {
      schemaVersion: 2 as const,
      mediaType: dockerTypes.index,
      manifests: [source],
      annotations: { i: 'j' },
      z: 1,
    };
    const { value, bytes, descriptor: made } = rewriteIndex(old, [{ source, image }], 'x');
    expect(value).toEqual({
      schemaVersion: 2,
      mediaType: ociTypes.index,
      annotations: { i: 'j' },
      z: 1,
      manifests: [{ ...image, annotations: { kept: 'yes' } }],
    });
    expect(made).toEqual({ mediaType: ociTypes.index, digest: digestOf(bytes), size: bytes.length });
    expect(parseIndex(bytes, 'i')).toEqual(value);
  });

  it('leaves an entry whose image stays as it is', () => {
    const old = { schemaVersion: 2 as const, manifests: [source] };
    expect(rewriteIndex(old, [{ source, image: source }], 'x').value.manifests).toEqual([source]);
  });
});
