// Makes an OCI image out of the running machine's own files: three layers in an OCI image layout.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
} from 'node:fs';
import { realpathSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

const layerType = 'application/vnd.oci.image.layer.v1.tar';
const programs = ['/bin/sh', process.execPath, '/bin/cat', '/bin/ls', '/usr/bin/sha256sum'];
/** Names of what is nobody's business, whoever may read it. */
const secret =
  /shadow|ssh_host|\.key$|\.pem$|^private$|passw|secret|token|credential|auth\.conf|netrc|npmrc/i;
const maxFile = 16 << 20; // bytes

/** What the third layer writes; run-converted.mjs looks for it. */
export const changedText = 'This file was changed by the third layer.\n';

/**
 * Writes the image to the absent folder `layout`. Returns its layers (description, size) and what the third did: the paths
 * `changed`, `deleted` and `added`.
 */
export async function writeMachineImage(layout, reference) {
  mkdirSync(join(layout, 'blobs', 'sha256'), { recursive: true });
  const etc = etcEntries();
  const deleted = etc.find(({ type, name }) => type === 'file' && /^etc\/(?!issue$)[^/.]+$/.test(name)).name;
  const changes = { changed: 'etc/issue', deleted, added: 'opt/hello.mjs' };
  const layers = [
    await writeLayer(layout, 'a shell, node and their libraries', programEntries(), false),
    await writeLayer(layout, '/etc (gzip)', etc, true),
    await writeLayer(
      layout,
      `changes ${changes.changed}, deletes ${deleted}, adds ${changes.added}`,
      changeEntries(changes),
      false,
    ),
  ];
  writeDocuments(layout, reference, layers);
  return { layers, ...changes };
}

function programEntries() {
  const files = [...new Set(programs.flatMap((program) => [program, ...librariesOf(program)]))];
  const entries = files.map((path) => ({
    name: path.slice(1),
    type: 'file',
    path: realpathSync(path),
    mode: 0o755,
  }));
  const mountPoints = ['dev/', 'proc/', 'tmp/'].map((name) => ({ name, type: 'directory', mode: 0o755 }));
  return withParents([...mountPoints, ...entries]);
}

/** Absolute paths of what the dynamic loader would open. */
function librariesOf(program) {
  const printed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...printed.matchAll(/^\t(?:\S+ => )?(\/\S+)/gm)].map(([, path]) => path);
}

/** Adds each directory before the first entry in it. */
function withParents(entries) {
  const seen = new Set(entries.map(({ name }) => name));
  return entries.flatMap((entry) => {
    const parents = [];
    for (let name = dirname(entry.name); name !== '.'; name = dirname(name)) {
      if (seen.has(`${name}/`)) continue;
      seen.add(`${name}/`);
      parents.unshift({ name: `${name}/`, type: 'directory', mode: 0o755 });
    }
    return [...parents, entry];
  });
}

/** What everybody may read of /etc, without anything that smells of a secret. */
function etcEntries(directory = '/etc') {
  const { mode } = statSync(directory);
  const entries = [{ name: `${directory.slice(1)}/`, type: 'directory', mode: mode & 0o7777 }];
  for (const item of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, item.name);
    if (secret.test(item.name)) continue;
    if (item.isSymbolicLink())
      entries.push({ name: path.slice(1), type: 'symlink', linkname: readlinkSync(path) });
    const stats = item.isSymbolicLink() ? null : statSync(path);
    if (item.isDirectory() && (stats.mode & 0o005) === 0o005) entries.push(...etcEntries(path));
    if (item.isFile() && (stats.mode & 0o004) !== 0 && stats.size <= maxFile) {
      entries.push({ name: path.slice(1), type: 'file', path, mode: stats.mode & 0o7777 });
    }
  }
  return entries;
}

function changeEntries({ changed, deleted, added }) {
  const whiteout = join(dirname(deleted), `.wh.${basename(deleted)}`);
  const hello = 'console.log(`Node ${process.version} runs out of an EROFS image`);\n';
  return withParents([
    { name: changed, type: 'file', text: changedText, mode: 0o644 },
    { name: whiteout, type: 'file', text: '', mode: 0 },
    { name: added, type: 'file', text: hello, mode: 0o644 },
  ]);
}

/** Writes one layer as a blob; returns what the documents say of it. */
async function writeLayer(layout, description, entries, compressed) {
  const draft = join(layout, 'draft');
  const plain = createHash('sha256');
  const stored = createHash('sha256');
  const tar = pack();
  await Promise.all([
    addEntries(tar, entries),
    pipeline(
      tar,
      tee(plain),
      compressed ? createGzip() : new PassThrough(),
      tee(stored),
      createWriteStream(draft),
    ),
  ]);
  const digest = stored.digest('hex');
  const { size } = statSync(draft);
  renameSync(draft, join(layout, 'blobs', 'sha256', digest));
  const mediaType = compressed ? `${layerType}+gzip` : layerType;
  return {
    description,
    size,
    diffId: `sha256:${plain.digest('hex')}`,
    descriptor: { mediaType, digest: `sha256:${digest}`, size },
  };
}

/** A pass-through that hashes. */
function tee(hash) {
  return new PassThrough({
    transform(chunk, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

async function addEntries(tar, entries) {
  for (const { path, text, ...header } of entries) {
    if (path === undefined) {
      tar.entry({ ...header, uid: 0, gid: 0 }, text ?? '');
      continue;
    }
    const { size, mtime } = statSync(path);
    await pipeline(createReadStream(path), tar.entry({ ...header, size, mtime, uid: 0, gid: 0 }));
  }
  tar.finalize();
}

function writeDocuments(layout, reference, layers) {
  const architecture = { x64: 'amd64' }[process.arch] ?? process.arch;
  const config = {
    architecture,
    os: 'linux',
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/usr/local/bin:/usr/bin:/bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ description }) => ({ created_by: `npm start: ${description}` })),
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: writeBlob(layout, 'application/vnd.oci.image.config.v1+json', config),
    layers: layers.map(({ descriptor }) => descriptor),
  };
  const annotations = { 'org.opencontainers.image.ref.name': reference };
  const entry = { ...writeBlob(layout, manifest.mediaType, manifest), annotations };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

function writeBlob(layout, mediaType, document) {
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(layout, 'blobs', 'sha256', digest), bytes);
  return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
}

/** The layers of a layout's only image, bottom first: descriptors, and the path of each blob. */
export function describeLayout(layout) {
  const read = (path) => JSON.parse(readFileSync(join(layout, path), 'utf8'));
  const blobPath = (digest) => join('blobs', ...digest.split(':'));
  const [{ digest }] = read('index.json').manifests;
  return read(blobPath(digest)).layers.map((descriptor) => ({
    descriptor,
    size: descriptor.size,
    path: join(layout, blobPath(descriptor.digest)),
  }));
}
