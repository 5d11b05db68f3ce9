import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeTar, noise, sha256 } from '../e2e/sample';

/** What a layout of many small images has. */
export interface ManyImages {
  /** Names of the images in the layout. */
  refs: string[];
  /** How many different layers they have. */
  layers: number;
}

/** Writes a layout of small images `app-0`, `app-1` …; each has one of `bases` shared layers, and one of its own. */
export async function writeManyImages(dir: string, count: number, bases: number): Promise<ManyImages> {
  const blobs = join(dir, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = sha256(bytes);
    await writeFile(join(blobs, digest.slice(7)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const layer = async (name: string, size: number) => {
    const tar = await makeTar([{ name, content: noise(size, name) }]);
    const type = 'application/vnd.oci.image.layer.v1.tar+gzip';
    return { diffId: sha256(tar), descriptor: await put(type, gzipSync(tar, { level: 1 })) };
  };
  const shared = [];
  for (let i = 0; i < bases; i++) shared.push(await layer(`base-${i}`, 40_000));
  const manifests = [];
  for (let i = 0; i < count; i++) {
    const layers = [shared[i % bases]!, await layer(`own-${i}`, 4000)];
    const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) };
    const config = await put(
      'application/vnd.oci.image.config.v1+json',
      Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs, config: {} })),
    );
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const document = {
      schemaVersion: 2,
      mediaType,
      config,
      layers: layers.map(({ descriptor }) => descriptor),
    };
    const manifest = await put(mediaType, Buffer.from(JSON.stringify(document)));
    manifests.push({ ...manifest, annotations: { 'org.opencontainers.image.ref.name': `app-${i}` } });
  }
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { refs: manifests.map((_, i) => `app-${i}`), layers: bases + count };
}
