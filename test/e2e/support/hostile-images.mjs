// Images whose one layer is a hostile vector of test/golden: whichever way containerd takes them, nothing wrong is ever seen.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ns, pull, treeOfImage } from './node.mjs';

const VECTORS = join(dirname(fileURLToPath(import.meta.url)), '../../golden/containerd-profile');
const TYPES = {
  config: 'application/vnd.oci.image.config.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
};
/** Their own digest vouches for all that is read of them, or, where frames have another order, is the DiffID what refuses them. */
const TAKEN = ['hash_alg_none', 'table_digest_missing', 'frames_swapped'];

/** Pushes them; `{name, image}` each, the sound one first. */
export function pushHostileImages({ registry, at }) {
  const layout = at('hostile');
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const { variants, base } = readJson('bad.json');
  const good = readJson(base);
  const sound = { name: 'sound', blob: base.replace(/json$/, 'blob'), annotations: good.annotations };
  const all = [sound, ...variants.filter(({ name }) => !TAKEN.includes(name))];
  const manifests = all.map((vector) => writeImage(layout, vector, good));
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return all.map(({ name }) => {
    const image = `${registry.host}/sample:hostile-${name.toLowerCase()}`;
    const flags = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy', '--preserve-digests'];
    execFileSync('skopeo', [...flags, `oci:${layout}:${name}`, `docker://${image}`], { stdio: 'inherit' });
    return { name, image };
  });
}

/**
 * Each is pulled and looked at, by default read whole: one of both fails, or what is seen is what the sound one has. Gives the names of those that were not refused.
 */
export function pullHostileImages(test, look = (image) => treeOfImage(test, 'vectors', image)) {
  const [sound, ...hostile] = pushHostileImages(test);
  const expected = seen(test, sound.image, look);
  const seenWhole = [];
  for (const { name, image } of hostile) {
    try {
      assert.equal(seen(test, image, look), expected, `${name}: wrong bytes were seen`);
      seenWhole.push(name);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
  }
  test.daemon.ctr('default', 'version');
  console.log(
    `ok: of ${hostile.length} hostile layers nothing wrong is seen; ${seenWhole.length} are not refused`,
  );
  return seenWhole;
}

function seen(test, image, look) {
  try {
    pull(test, 'vectors', image);
    return look(image);
  } finally {
    const { daemon } = test;
    const names = daemon
      .ctr(ns(test, 'vectors'), 'images', 'list', '--quiet')
      .trim()
      .split('\n')
      .filter(Boolean);
    if (names.length > 0) daemon.ctr(ns(test, 'vectors'), 'images', 'remove', '--sync', ...names);
  }
}

function writeImage(layout, { name, blob, annotations }, { diff_id: diffId, media_type: mediaType }) {
  const store = (type, bytes) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(layout, 'blobs/sha256', hex), bytes);
    return { mediaType: type, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (type, value) => store(type, Buffer.from(JSON.stringify(value)));
  const layer = { ...store(mediaType, readFileSync(join(VECTORS, blob))), annotations };
  const config = json(TYPES.config, {
    os: 'linux',
    'os.features': ['erofs'],
    architecture: { x64: 'amd64' }[process.arch] ?? process.arch,
    config: { Labels: { vector: name } },
    rootfs: { type: 'layers', diff_ids: [diffId] },
  });
  const manifest = { schemaVersion: 2, mediaType: TYPES.manifest, config, layers: [layer] };
  const annotated = { 'org.opencontainers.image.ref.name': name };
  return { ...json(TYPES.manifest, manifest), annotations: annotated };
}

const readJson = (name) => JSON.parse(readFileSync(join(VECTORS, name), 'utf8'));
