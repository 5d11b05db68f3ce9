import type { Profile } from './profiles';

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  /** Of a manifest's config where there is none: `{}`. */
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  ociTar: 'application/vnd.oci.image.layer.v1.tar',
  ociTarGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociTarZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  ociForeignTar: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  ociForeignTarGzip: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  ociForeignTarZstd: 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerTar: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerTarGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerTarZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  dockerForeignTar: 'application/vnd.docker.image.rootfs.foreign.diff.tar',
  dockerForeignTarGzip: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  dockerForeignTarZstd: 'application/vnd.docker.image.rootfs.foreign.diff.tar.zstd',
  /** A raw EROFS image, profile "containerd". */
  containerdErofs: 'application/vnd.erofs.layer.v1',
  containerdErofsZstd: 'application/vnd.erofs.layer.v1+zstd',
  /** A raw EROFS image, profile "erofs-image-spec". */
  specErofs: 'application/vnd.erofs',
  specErofsZstd: 'application/vnd.erofs+zstd',
  /** A chunk index that is a layer of its own. */
  chunkIndex: 'application/vnd.erofs.chunk-index.v1',
  /** A trace (docs/trace.md), as an artifact and as its content. */
  trace: 'application/vnd.seekable-erofs.trace.v1+json',
} as const;

/** What a layer's media type says about its bytes. */
type LayerFormat =
  | {
      kind: 'tar';
      compression: 'none' | 'gzip' | 'zstd';
      /** Fetched from its `urls`, not pushed. */ foreign: boolean;
    }
  | { kind: 'erofs'; compression: 'none' | 'zstd'; profile: Profile }
  | { kind: 'chunk-index' };

const layerFormats = new Map<string, LayerFormat>([
  [mediaTypes.ociTar, { kind: 'tar', compression: 'none', foreign: false }],
  [mediaTypes.ociTarGzip, { kind: 'tar', compression: 'gzip', foreign: false }],
  [mediaTypes.ociTarZstd, { kind: 'tar', compression: 'zstd', foreign: false }],
  [mediaTypes.ociForeignTar, { kind: 'tar', compression: 'none', foreign: true }],
  [mediaTypes.ociForeignTarGzip, { kind: 'tar', compression: 'gzip', foreign: true }],
  [mediaTypes.ociForeignTarZstd, { kind: 'tar', compression: 'zstd', foreign: true }],
  [mediaTypes.containerdErofs, { kind: 'erofs', compression: 'none', profile: 'containerd' }],
  [mediaTypes.containerdErofsZstd, { kind: 'erofs', compression: 'zstd', profile: 'containerd' }],
  [mediaTypes.specErofs, { kind: 'erofs', compression: 'none', profile: 'erofs-image-spec' }],
  [mediaTypes.specErofsZstd, { kind: 'erofs', compression: 'zstd', profile: 'erofs-image-spec' }],
  [mediaTypes.chunkIndex, { kind: 'chunk-index' }],
]);

const ociOfDocker = new Map<string, string>([
  [mediaTypes.dockerManifestList, mediaTypes.ociIndex],
  [mediaTypes.dockerManifest, mediaTypes.ociManifest],
  [mediaTypes.dockerConfig, mediaTypes.ociConfig],
  [mediaTypes.dockerTar, mediaTypes.ociTar],
  [mediaTypes.dockerTarGzip, mediaTypes.ociTarGzip],
  [mediaTypes.dockerTarZstd, mediaTypes.ociTarZstd],
  [mediaTypes.dockerForeignTar, mediaTypes.ociForeignTar],
  [mediaTypes.dockerForeignTarGzip, mediaTypes.ociForeignTarGzip],
  [mediaTypes.dockerForeignTarZstd, mediaTypes.ociForeignTarZstd],
]);

/** The OCI media type for a Docker one; every other stays as it is. */
export function toOciMediaType(mediaType: string): string {
  return ociOfDocker.get(mediaType) ?? mediaType;
}

/** An image index or a manifest list. */
export function isIndexType(mediaType: string): boolean {
  return toOciMediaType(mediaType) === mediaTypes.ociIndex;
}

/** A manifest of one image. */
export function isManifestType(mediaType: string): boolean {
  return toOciMediaType(mediaType) === mediaTypes.ociManifest;
}

/** The configuration of an image. */
export function isConfigType(mediaType: string): boolean {
  return toOciMediaType(mediaType) === mediaTypes.ociConfig;
}

/** What the bytes of a layer of this type are; null when it is no layer that this package knows. */
export function layerFormat(mediaType: string): LayerFormat | null {
  return layerFormats.get(toOciMediaType(mediaType)) ?? null;
}

/** How the bytes of a layer are compressed as a whole, by the suffix of its media type, whatever else that is. */
export function streamCompression(mediaType: string): 'none' | 'gzip' | 'zstd' {
  const format = layerFormat(mediaType);
  if (format !== null) return format.kind === 'chunk-index' ? 'none' : format.compression;
  const [, suffix] = /\+(gzip|zstd)$/.exec(mediaType) ?? [];
  return suffix === 'gzip' || suffix === 'zstd' ? suffix : 'none';
}

/** A layer of a container image, be it of a kind that this package does not know (an encrypted one, say). */
export function isImageLayer(mediaType: string): boolean {
  const isNamedSo = /^application\/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\./.test(mediaType);
  return isNamedSo || layerFormat(mediaType) !== null;
}

/** A tar, compressed or not. */
export function isTarLayer(mediaType: string): boolean {
  return layerFormat(mediaType)?.kind === 'tar';
}

/** A layer that registries don't keep ("foreign", "non-distributable"). */
export function isForeignLayer(mediaType: string): boolean {
  const format = layerFormat(mediaType);
  return format?.kind === 'tar' && format.foreign;
}

/** An EROFS image, raw or compressed, of either profile. */
export function isErofsLayer(mediaType: string): boolean {
  return layerFormat(mediaType)?.kind === 'erofs';
}

/** The media type of an EROFS layer that is written. */
export function erofsMediaType(profile: Profile, compression: 'none' | 'zstd'): string {
  if (profile === 'containerd') {
    return compression === 'zstd' ? mediaTypes.containerdErofsZstd : mediaTypes.containerdErofs;
  }
  return compression === 'zstd' ? mediaTypes.specErofsZstd : mediaTypes.specErofs;
}
