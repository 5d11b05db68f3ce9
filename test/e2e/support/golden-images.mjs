// The hostile blobs of test/golden as images of one layer each, in a registry.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), '../../golden/containerd-profile');
const ARCHITECTURE = { x64: 'amd64' }[process.arch] ?? process.arch;

const readJson = (name) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));
const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * Each variant with what it should be the layer of: `{name, blob, annotations, mediaType, diffId, image, isOther}`. `image` are the right bytes, and
 * `isOther` says that the blob, decompressed as a whole, gives others.
 */
export function goldenVariants() {
  const { variants } = readJson('bad.json');
  const good = readJson('good/tiny.c16384.v4096.json');
  const image = readFileSync(join(FOLDER, good.image));
  return variants.map(({ name, blob, annotations, go }) => ({
    name,
    isOther: go.diff_id_matches === false || go.unpack.includes('decode EROFS stream'),
    annotations,
    image,
    blob: readFileSync(join(FOLDER, blob)),
    mediaType: good.media_type,
    diffId: good.diff_id,
  }));
}

/** Puts a variant into the registry as an image; gives its name there. */
export async function pushVariant(host, { name, blob, annotations, mediaType, diffId }) {
  const repository = `golden/${name.replaceAll('_', '-')}`;
  const config = {
    architecture: ARCHITECTURE,
    os: 'linux',
    'os.features': ['erofs'],
    config: {},
    rootfs: { type: 'layers', diff_ids: [diffId] },
  };
  const configBytes = Buffer.from(JSON.stringify(config));
  for (const bytes of [blob, configBytes]) await pushBlob(host, repository, bytes);
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptorOf('application/vnd.oci.image.config.v1+json', configBytes),
    layers: [{ ...descriptorOf(mediaType, blob), annotations }],
  };
  await send(`http://${host}/v2/${repository}/manifests/v1`, 'PUT', JSON.stringify(manifest), {
    'content-type': manifest.mediaType,
  });
  return `${host}/${repository}:v1`;
}

const descriptorOf = (mediaType, bytes) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

async function pushBlob(host, repository, bytes) {
  const begun = await send(`http://${host}/v2/${repository}/blobs/uploads/`, 'POST');
  const url = new URL(begun.headers.get('location'), `http://${host}`);
  url.searchParams.set('digest', digestOf(bytes));
  await send(url, 'PUT', bytes, { 'content-type': 'application/octet-stream' });
}

async function send(url, method, body, headers) {
  const answer = await fetch(url, { method, body, headers });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}
