// A small OCI image whose merged tree can only come out right when whiteouts, opaque directories, links, modes and file
// data of several chunks all survived: a program inside it prints what it sees, and `EXPECTED_OUTPUT` is that text.
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const PROGRAMS = ['/bin/sh', '/usr/bin/sha256sum', '/usr/bin/sleep'];
const BIG_FILE_SIZE = 9 * 2 ** 20 + 123; // three chunks of 4 MiB and an odd end

// The sleep: on a loaded machine ctr now and then drops what a container wrote in the moment before its end.
const CHECK_SCRIPT = `
echo "marker: sample image"
echo "data:" /data/*
echo "opaque:" /data/opaque/*
read line < /data/changed; echo "changed: $line"
for name in deleted gone gone/inner opaque/old; do [ -e /data/$name ] && echo "$name came back"; done
[ /data/kept -ef /data/hard ] && echo "hard link: same file"
[ -L /data/soft ] && read line < /data/soft && echo "soft link: $line"
[ -u /data/setuid ] && [ -x /data/setuid ] && echo "setuid: kept"
sha256sum /data/big
echo written > /data/upper && read line < /data/upper && echo "upper: $line" || exit 1
sleep 1
`;

/** Layers of an image at most, as Docker has it. */
const MANY_LAYERS = 127;
/** What the program of the image of so many layers prints. */
export const MANY_OUTPUT = `${MANY_LAYERS - 3}\n`;

const host = { os: 'linux', architecture: { x64: 'amd64' }[process.arch] ?? process.arch };
const tarType = 'application/vnd.oci.image.layer.v1.tar';

const BIG_FILE = pseudoRandom(BIG_FILE_SIZE);

/** What the image's program prints when everything is as its layers say. */
export const EXPECTED_OUTPUT = `marker: sample image
data: /data/added /data/big /data/changed /data/hard /data/kept /data/opaque /data/setuid /data/soft
opaque: /data/opaque/new
changed: new
hard link: same file
soft link: kept
setuid: kept
${createHash('sha256').update(BIG_FILE).digest('hex')}  /data/big
upper: written
`;

/** Writes the image to the (absent) OCI image layout `directory` under the name `reference`. */
export function writeSampleImage(directory, reference) {
  const layout = new SampleLayout(directory);
  layout.name(reference, layout.image(sampleLayers(directory)));
  layout.finish();
}

/**
 * Writes an index under the name `index` (the image for two platforms, and an attestation of each), the image with as many layers as
 * Docker takes as `many`, whose program prints how many of them it sees, and as `pause` one whose program only sleeps.
 */
export function writeMoreImages(directory) {
  const layout = new SampleLayout(directory);
  const layers = sampleLayers(directory);
  const platforms = [host, { os: 'linux', architecture: host.architecture === 's390x' ? 'amd64' : 's390x' }];
  const images = platforms.map((platform) => ({ ...layout.image(layers, { platform }), platform }));
  layout.name('index', layout.index([...images, ...images.map((image) => layout.attestation(image))]));
  const more = Array.from({ length: MANY_LAYERS - layers.length }, (_, i) =>
    tarOf(directory, (root) => put(root, `many/${i}`, `${i}\n`)),
  );
  const count = ['/bin/sh', '-c', 'set -- /many/*; echo $#; sleep 1'];
  layout.name('many', layout.image([...layers, ...more], { command: count }));
  layout.name('pause', layout.image(layers.slice(0, 1), { command: ['/usr/bin/sleep', '600'] }));
  layout.finish();
}

/**
 * Writes images that share their layers, as `0`, `1` …: the sample with `bytes` more of random data in a file that its program does not read, and
 * a top layer of its own with the file `/own`. As `three` without that, as `sleeping` with a program that only sleeps.
 */
export function writeSharingImages(directory, { count, bytes }) {
  const layout = new SampleLayout(directory);
  const base = (root) => {
    baseLayer(root);
    put(root, 'data2/unread', randomBytes(bytes));
  };
  const shared = [base, changesLayer, opaqueLayer].map((fill) => tarOf(directory, fill));
  layout.name('three', layout.image(shared));
  for (let i = 0; i < count; i++) {
    const own = tarOf(directory, (root) => put(root, 'own', `${i}\n`));
    layout.name(`${i}`, layout.image([...shared, own]));
  }
  layout.name('sleeping', layout.image(shared, { command: ['/usr/bin/sleep', '600'] }));
  layout.finish();
}

const sampleLayers = (directory) =>
  [baseLayer, changesLayer, opaqueLayer].map((fill) => tarOf(directory, fill));

function tarOf(directory, fill) {
  const root = mkdtempSync(`${directory}-`);
  try {
    fill(root);
    const flags = ['--numeric-owner', '--owner=0', '--group=0', '--sort=name', '--mtime=@1000000000'];
    return execFileSync('tar', [...flags, '-C', root, '-c', '.'], { maxBuffer: 2 ** 30 });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function baseLayer(root) {
  for (const program of PROGRAMS) {
    copyIn(root, program);
    const libraries = execFileSync('ldd', [program], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const library of libraries) copyIn(root, library);
  }
  put(root, 'check.sh', CHECK_SCRIPT);
  put(root, 'data/big', BIG_FILE);
  put(root, 'data/changed', 'old\n');
  put(root, 'data/deleted', 'must not be seen\n');
  put(root, 'data/gone/inner', 'must not be seen\n');
  put(root, 'data/opaque/old', 'must not be seen\n');
  put(root, 'data/kept', 'kept\n');
  linkSync(join(root, 'data/kept'), join(root, 'data/hard'));
  symlinkSync('kept', join(root, 'data/soft'));
  put(root, 'data/setuid', '');
  chmodSync(join(root, 'data/setuid'), 0o4755);
}

function changesLayer(root) {
  put(root, 'data/added', 'added\n');
  put(root, 'data/changed', 'new\n');
  put(root, 'data/.wh.deleted', '');
  put(root, 'data/.wh.gone', '');
}

function opaqueLayer(root) {
  put(root, 'data/opaque/.wh..wh..opq', '');
  put(root, 'data/opaque/new', 'new\n');
}

class SampleLayout {
  #directory;
  #manifests = [];

  constructor(directory) {
    this.#directory = directory;
    mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true });
  }

  store(mediaType, content) {
    const digest = sha256(content);
    writeFileSync(join(this.#directory, 'blobs', 'sha256', digest.slice('sha256:'.length)), content);
    return { mediaType, digest, size: content.length };
  }

  /** The first layer is a plain tar, the others are gzipped. */
  image(tars, { platform = host, command = ['/bin/sh', '/check.sh'] } = {}) {
    const layers = tars.map((tar, i) =>
      i === 0 ? this.store(tarType, tar) : this.store(`${tarType}+gzip`, gzipSync(tar)),
    );
    const config = { Env: ['PATH=/usr/bin:/bin'], Cmd: command };
    return this.manifest(layers, {
      ...platform,
      config,
      rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
    });
  }

  /** What BuildKit writes beside an image. */
  attestation({ digest }) {
    const statement = this.store('application/vnd.in-toto+json', json({ subject: digest }));
    const platform = { architecture: 'unknown', os: 'unknown' };
    const rootfs = { type: 'layers', diff_ids: [statement.digest] };
    const annotations = {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': digest,
    };
    return { ...this.manifest([statement], { ...platform, config: {}, rootfs }), annotations, platform };
  }

  manifest(layers, configuration) {
    const config = this.store('application/vnd.oci.image.config.v1+json', json(configuration));
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    return this.store(mediaType, json({ schemaVersion: 2, mediaType, config, layers }));
  }

  index(manifests) {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    return this.store(mediaType, json({ schemaVersion: 2, mediaType, manifests }));
  }

  name(reference, root) {
    this.#manifests.push({ ...root, annotations: { 'org.opencontainers.image.ref.name': reference } });
  }

  finish() {
    const index = { schemaVersion: 2, manifests: this.#manifests };
    writeFileSync(join(this.#directory, 'index.json'), json(index));
    writeFileSync(join(this.#directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  }
}

function put(root, path, content) {
  const place = join(root, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, content);
}

function copyIn(root, path) {
  const place = join(root, path);
  mkdirSync(dirname(place), { recursive: true });
  copyFileSync(path, place);
}

function pseudoRandom(size) {
  const parts = [];
  for (let i = 0; i * 32 < size; i++) parts.push(createHash('sha256').update(String(i)).digest());
  return Buffer.concat(parts).subarray(0, size);
}

const json = (value) => Buffer.from(JSON.stringify(value));
const sha256 = (content) => `sha256:${createHash('sha256').update(content).digest('hex')}`;
