import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';
import { zstdFrame } from '../support/spec-writer';

export const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Bytes that look random to a compressor, the same for the same seed. */
export function noise(length: number, seed: string): Buffer {
  const blocks: Buffer[] = [];
  for (let i = 0; i * 64 < length; i++) blocks.push(createHash('sha512').update(`${seed} ${i}`).digest());
  return Buffer.concat(blocks).subarray(0, length);
}

/** A tar of these entries, in this order. */
export function makeTar(
  entries: (Parameters<Pack['entry']>[0] & { content?: Buffer | string })[],
): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    archive.entry({ mtime: new Date(1_700_000_000_000), ...header }, content ?? '');
  }
  archive.finalize();
  return buffer(archive);
}

/** A layer with most things that layers have; about 600 kB, so several chunks of 64 KiB. */
export function sampleTar(): Promise<Buffer> {
  const tool = { mode: 0o4755, uid: 1000, gid: 1000 };
  return makeTar([
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/hostname', mode: 0o644, content: 'sample\n' },
    { name: 'etc/link', type: 'symlink', linkname: 'hostname' },
    { name: 'usr/bin/tool', ...tool, content: noise(300_000, 'tool') },
    { name: 'usr/bin/tool-too', ...tool, type: 'link', linkname: 'usr/bin/tool' },
    { name: 'usr/share/text', mode: 0o600, content: 'all work and no play\n'.repeat(15_000) },
  ]);
}

interface LayoutOptions {
  platforms?: string[];
  ref?: string;
  /** By gzip, or in a zstd frame; default: by gzip. */
  compress?: boolean | 'zstd';
  /** The layers as they are stored; default: what `compress` makes. */
  stored?: Buffer[];
}

/** Writes an OCI image layout: one image, or an index of one image for each of several platforms. */
export async function writeLayout(
  dir: string,
  tars: Buffer[],
  options: LayoutOptions = {},
): Promise<string[]> {
  const { platforms = ['linux/amd64'], ref = 'sample', compress = true } = options;
  const packed = compress === 'zstd' ? zstdFrame : compress ? gzipSync : (tar: Buffer) => tar;
  const { stored = tars.map((tar) => packed(tar)) } = options;
  const blobs = join(dir, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = sha256(bytes);
    await writeFile(join(blobs, digest.slice(7)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const putJson = (mediaType: string, value: object) => put(mediaType, Buffer.from(JSON.stringify(value)));
  const suffix = compress === 'zstd' ? '+zstd' : compress ? '+gzip' : '';
  const layerType = `application/vnd.oci.image.layer.v1.tar${suffix}`;
  const layers = await Promise.all(stored.map((layer) => put(layerType, layer)));
  const manifests = [];
  for (const text of platforms) {
    const [os, architecture, variant] = text.split('/') as [string, string, string | undefined];
    const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
    const rootfs = { type: 'layers', diff_ids: tars.map(sha256) };
    const config = await putJson('application/vnd.oci.image.config.v1+json', {
      ...platform,
      rootfs,
      config: {},
    });
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = await putJson(mediaType, { schemaVersion: 2, mediaType, config, layers });
    manifests.push({ ...manifest, platform });
  }
  const indexType = 'application/vnd.oci.image.index.v1+json';
  const index = { schemaVersion: 2, mediaType: indexType, manifests };
  const top = manifests.length > 1 ? await putJson(indexType, index) : manifests[0]!;
  const named = { ...top, annotations: { 'org.opencontainers.image.ref.name': ref } };
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return layers.map(({ digest }) => digest);
}

/** A blob of a layout. */
export function blobPath(dir: string, digest: string): string {
  return join(dir, 'blobs', 'sha256', digest.slice(7));
}

/** A JSON blob of a layout. */
export async function readBlob<T>(dir: string, digest: string): Promise<T> {
  return JSON.parse(await readFile(blobPath(dir, digest), 'utf8')) as T;
}

/** All files under a folder, as sorted paths from it; none when it does not exist. */
export async function filesUnder(dir: string): Promise<string[]> {
  if (!existsSync(dir)) return [];
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .sort();
}
