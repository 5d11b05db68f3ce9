import { describe, expect, it } from 'vitest';

import {
  erofsMediaType,
  isConfigType,
  isErofsLayer,
  isForeignLayer,
  isIndexType,
  isManifestType,
  isTarLayer,
  layerFormat,
  mediaTypes,
  toOciMediaType,
} from '../../src/format/media-types';
import { profiles } from '../../src/format/profiles';

const all = Object.values(mediaTypes);
/** No part of an image that these are told apart for. */
const others: string[] = [mediaTypes.chunkIndex, mediaTypes.ociEmpty, mediaTypes.trace];

describe('media types', () => {
  it('are each one thing only', () => {
    const predicates = [isIndexType, isManifestType, isConfigType, isTarLayer, isErofsLayer];
    for (const type of all) {
      const matches = predicates.filter((predicate) => predicate(type)).length;
      expect([type, matches]).toEqual([type, others.includes(type) ? 0 : 1]);
    }
    expect(new Set(all).size).toBe(all.length);
  });

  it('of Docker all have one of OCI that means the same', () => {
    const docker = all.filter((type) => type.startsWith('application/vnd.docker.'));
    expect(docker.length).toBe(9);
    for (const type of docker) {
      expect(toOciMediaType(type)).not.toBe(type);
      expect(toOciMediaType(type)).toMatch(/^application\/vnd\.oci\.image\./);
      expect(layerFormat(toOciMediaType(type))).toEqual(layerFormat(type));
    }
    expect(toOciMediaType(mediaTypes.dockerForeignTarGzip)).toBe(mediaTypes.ociForeignTarGzip);
    expect(new Set(docker.map(toOciMediaType)).size).toBe(9);
  });

  it('that are not Docker’s stay as they are', () => {
    for (const type of ['', 'text/plain', mediaTypes.ociTar, mediaTypes.specErofs])
      expect(toOciMediaType(type)).toBe(type);
    expect(layerFormat('application/vnd.in-toto+json')).toBeNull();
    expect(layerFormat('__proto__')).toBeNull();
  });

  it('tell compression and distribution of layers', () => {
    expect(layerFormat(mediaTypes.dockerTarGzip)).toEqual({
      kind: 'tar',
      compression: 'gzip',
      foreign: false,
    });
    expect(layerFormat(mediaTypes.chunkIndex)).toEqual({ kind: 'chunk-index' });
    expect(all.filter(isForeignLayer).length).toBe(6);
  });

  it('of EROFS layers go with their profiles', () => {
    for (const profile of profiles) {
      for (const compression of ['none', 'zstd'] as const) {
        expect(layerFormat(erofsMediaType(profile, compression))).toEqual({
          kind: 'erofs',
          compression,
          profile,
        });
      }
    }
  });
});
