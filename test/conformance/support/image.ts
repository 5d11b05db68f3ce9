import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

export const oci = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  tar: 'application/vnd.oci.image.layer.v1.tar',
  tarGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

export const docker = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  tarGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

export const host = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
/** A platform that no machine of ours is of. */
export const other = { os: 'linux', architecture: 's390x' };
export const hostName = `linux/${host.architecture}`;

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: { os: string; architecture: string; 'os.features'?: string[] };
  urls?: string[];
}

interface ImageOptions {
  platform?: typeof host;
  types?: { manifest: string; config: string };
  /** Members in the place of the usual ones. */
  config?: object;
}

/** A layer to be put into an image. */
export interface Layer {
  descriptor: Descriptor;
  diffId: string;
}

export const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** An OCI image layout that a test makes piece by piece, right or wrong. */
export class LayoutBuilder {
  private readonly blobs: string;

  constructor(private readonly folder: string) {
    this.blobs = join(folder, 'blobs/sha256');
    mkdirSync(this.blobs, { recursive: true });
    writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  put(mediaType: string, bytes: Uint8Array | object): Descriptor {
    const content = bytes instanceof Uint8Array ? bytes : Buffer.from(JSON.stringify(bytes));
    const digest = digestOf(content);
    writeFileSync(join(this.blobs, digest.slice(7)), content);
    return { mediaType, digest, size: content.length };
  }

  /** A gzip-compressed tar as a layer. */
  tarLayer(tar: Buffer, mediaType = oci.tarGzip): Layer {
    return { descriptor: this.put(mediaType, gzipSync(tar)), diffId: digestOf(tar) };
  }

  image(layers: Layer[], { platform = host, types = oci, config = {} }: ImageOptions = {}): Descriptor {
    const configDescriptor = this.put(types.config, {
      ...platform,
      config: { Cmd: ['/bin/true'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      ...config,
    });
    const manifest = this.put(types.manifest, {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: configDescriptor,
      layers: layers.map(({ descriptor }) => descriptor),
    });
    return { ...manifest, platform };
  }

  index(manifests: Descriptor[], mediaType = oci.index): Descriptor {
    return this.put(mediaType, { schemaVersion: 2, mediaType, manifests });
  }

  /** Names what the layout is for. */
  name(root: Descriptor, ref = 'image'): void {
    this.names({ [ref]: root });
  }

  /** Names all that the layout is for. */
  names(roots: Record<string, Descriptor>): void {
    const manifests = Object.entries(roots).map(([ref, root]) => ({
      ...root,
      annotations: { 'org.opencontainers.image.ref.name': ref },
    }));
    writeFileSync(join(this.folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  }
}
