// A small OCI image whose merged tree can only come out right when whiteouts, opaque directories, links, modes and file
// data of several chunks all survived: a program inside it prints what it sees, and `EXPECTED_OUTPUT` is that text.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
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
  const scratch = mkdtempSync(`${directory}-`);
  try {
    const layers = [baseLayer, changesLayer, opaqueLayer].map((fill, i) => {
      const root = join(scratch, String(i));
      mkdirSync(root);
      fill(root);
      return execFileSync(
        'tar',
        ['--numeric-owner', '--owner=0', '--group=0', '--sort=name', '-C', root, '-c', '.'],
        {
          maxBuffer: 2 ** 30,
        },
      );
    });
    writeLayout(directory, reference, layers);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
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

/** The first layer is a plain tar, the others are gzipped. */
function writeLayout(directory, reference, tars) {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const store = (mediaType, content) => {
    const digest = sha256(content);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), content);
    return { mediaType, digest, size: content.length };
  };
  const tarType = 'application/vnd.oci.image.layer.v1.tar';
  const layers = tars.map((tar, i) =>
    i === 0 ? store(tarType, tar) : store(`${tarType}+gzip`, gzipSync(tar)),
  );
  const config = store(
    'application/vnd.oci.image.config.v1+json',
    json({
      architecture: { x64: 'amd64' }[process.arch] ?? process.arch,
      os: 'linux',
      config: { Env: ['PATH=/usr/bin:/bin'], Cmd: ['/bin/sh', '/check.sh'] },
      rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
    }),
  );
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = store(manifestType, json({ schemaVersion: 2, mediaType: manifestType, config, layers }));
  const annotations = { 'org.opencontainers.image.ref.name': reference };
  writeFileSync(
    join(directory, 'index.json'),
    json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  writeFileSync(join(directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
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
