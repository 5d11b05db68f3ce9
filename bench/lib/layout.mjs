// OCI image layouts made of layer files, as sources of conversions.
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';

const MEDIA_TYPES = { none: 'tar', gzip: 'tar+gzip', zstd: 'tar+zstd' };

/** Writes an image to `directory` (which must not exist) whose layers are `layers`, each `{path, tar}`: the file, and the tar that is in it. */
export function writeLayout(directory, layers, { compression, name = 'bench' }) {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true });
  const blob = (hex) => join(directory, 'blobs', 'sha256', hex);
  const put = (value) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(blob(hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const described = layers.map(({ path }) => {
    const hex = sha256(path);
    linkSync(path, blob(hex));
    const mediaType = `application/vnd.oci.image.layer.v1.${MEDIA_TYPES[compression]}`;
    return { mediaType, digest: `sha256:${hex}`, size: statSync(path).size };
  });
  const config = put({
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => `sha256:${sha256(tar)}`) },
    config: {},
  });
  const manifest = put({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: described,
  });
  const reference = {
    'org.opencontainers.image.ref.name': name,
    'io.containerd.image.name': `example.test/${name}:1`,
  };
  const entry = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    ...manifest,
    annotations: reference,
  };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

/** Bytes of an image's layers, as its manifest says. */
export function layerBytes(directory) {
  const read = (digest) =>
    JSON.parse(readFileSync(join(directory, 'blobs', 'sha256', digest.split(':')[1]), 'utf8'));
  const { manifests } = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8'));
  return manifests.reduce(
    (total, { digest }) => total + read(digest).layers.reduce((sum, { size }) => sum + size, 0),
    0,
  );
}

const digests = new Map();

function sha256(path) {
  if (!digests.has(path)) {
    digests.set(path, execFileSync('sha256sum', ['--', path], { encoding: 'utf8' }).slice(0, 64));
  }
  return digests.get(path);
}
