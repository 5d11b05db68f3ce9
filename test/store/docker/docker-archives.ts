import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';

/** Archives as the versions of `docker save` have written them over the years. */

/** A file, or a link with its target. */
export type ArchiveMembers = Record<string, string | Buffer | { link: string } | { hard: string }>;

export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** A tar of these members, in this order. */
export async function archiveOf(members: ArchiveMembers): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(members)) {
    if (name.endsWith('/')) tar.entry({ name, type: 'directory' });
    else if (typeof content === 'string' || Buffer.isBuffer(content)) tar.entry({ name }, content);
    else tar.entry(linkHeader(name, content));
  }
  tar.finalize();
  return buffer(tar);
}

function linkHeader(
  name: string,
  link: { link: string } | { hard: string },
): Partial<Header> & { name: string } {
  return 'link' in link
    ? { name, type: 'symlink', linkname: link.link }
    : { name, type: 'link', linkname: link.hard };
}

/** A layer with one file in it. */
export function layerOf(name: string, content = name): Promise<Buffer> {
  return archiveOf({ [name]: content });
}

export function configOf(layers: Buffer[], more: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
      ...more,
    }),
  );
}

/** Docker 1.10 to 24: a folder for each layer, `manifest.json`, and the old files as well. A layer that occurs twice is a link. */
export function classicArchive(layers: Buffer[], tags: string[], { gzip = false } = {}): ArchiveMembers {
  const config = configOf(layers);
  const members: ArchiveMembers = {};
  const paths = layers.map((layer, i) => {
    const id = sha256(`layer ${i}`);
    const first = layers.indexOf(layer);
    members[`${id}/`] = '';
    members[`${id}/VERSION`] = '1.0';
    members[`${id}/json`] = JSON.stringify({ id, ...(i > 0 && { parent: sha256(`layer ${i - 1}`) }) });
    const shared = { link: `../${sha256(`layer ${first}`)}/layer.tar` };
    members[`${id}/layer.tar`] = first < i ? shared : gzip ? gzipSync(layer) : layer;
    return `${id}/layer.tar`;
  });
  members[`${sha256(config)}.json`] = config;
  members['manifest.json'] = JSON.stringify([
    { Config: `${sha256(config)}.json`, RepoTags: tags, Layers: paths },
  ]);
  members['repositories'] = JSON.stringify(repositoriesOf(tags, sha256(`layer ${layers.length - 1}`)));
  return members;
}

/** Docker before 1.10. */
export function v1Archive(layers: Buffer[], tags: string[]): ArchiveMembers {
  const members: ArchiveMembers = {};
  layers.forEach((layer, i) => {
    const id = sha256(`layer ${i}`);
    members[`${id}/VERSION`] = '1.0';
    members[`${id}/json`] = JSON.stringify({
      id,
      ...(i > 0 && { parent: sha256(`layer ${i - 1}`) }),
      created: `2014-01-0${i + 1}T00:00:00Z`,
      container_config: { Cmd: ['/bin/sh', '-c', `step ${i}`] },
      config: { Env: ['A=b'] },
      architecture: 'amd64',
      os: 'linux',
    });
    members[`${id}/layer.tar`] = layer;
  });
  if (tags.length > 0)
    members['repositories'] = JSON.stringify(repositoriesOf(tags, sha256(`layer ${layers.length - 1}`)));
  return members;
}

/** Docker 25 and later: an image layout with a `manifest.json`. */
export function layoutArchive(layers: Buffer[], tags: string[]): ArchiveMembers {
  const config = configOf(layers);
  const blob = (bytes: Buffer) => `blobs/sha256/${sha256(bytes)}`;
  const descriptor = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: `sha256:${sha256(bytes)}`,
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor('application/vnd.oci.image.config.v1+json', config),
      layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
    }),
  );
  const index = {
    schemaVersion: 2,
    manifests: [descriptor('application/vnd.oci.image.manifest.v1+json', manifest)],
  };
  return {
    ...Object.fromEntries([...layers, config, manifest].map((bytes) => [blob(bytes), bytes])),
    'index.json': JSON.stringify(index),
    'manifest.json': JSON.stringify([
      { Config: blob(config), RepoTags: tags, Layers: layers.map((layer) => blob(layer)) },
    ]),
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
  };
}

function repositoriesOf(tags: string[], top: string): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const text of tags) {
    const colon = text.lastIndexOf(':');
    (repositories[text.slice(0, colon)] ??= {})[text.slice(colon + 1)] = top;
  }
  return repositories;
}
