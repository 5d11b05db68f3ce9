import type { Descriptor, ImageConfig, Manifest } from '../../src/oci/types';

export const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

export const ociTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

export const dockerTypes = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function descriptor(mediaType = ociTypes.layer): Descriptor {
  return { mediaType, digest, size: 7 };
}

export function manifest(layers: number, types = ociTypes): Manifest {
  return {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(types.config),
    layers: Array.from({ length: layers }, () => descriptor(types.layer)),
  };
}

export function config(layers: number): ImageConfig {
  return {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: Array.from({ length: layers }, () => digest) },
    history: [
      ...Array.from({ length: layers }, (_, i) => ({ created_by: `RUN ${i}` })),
      { created_by: 'CMD', empty_layer: true },
    ],
  };
}
