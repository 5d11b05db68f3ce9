// Images of devices and data-only layers (vectors/) in a registry, and what their trees should show.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ns, pull } from './node.mjs';

const VECTORS = join(dirname(fileURLToPath(import.meta.url)), '../../../vectors');
const vectors = new Map(
  JSON.parse(readFileSync(join(VECTORS, 'vectors.json'), 'utf8')).map((vector) => [vector.name, vector]),
);

/** Puts a vector into the registry as it is; gives its name there. */
export function pushVector({ registry }, name) {
  const image = `${registry.host}/vectors:${name}`;
  const flags = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy', '--preserve-digests'];
  execFileSync('skopeo', [...flags, `oci:${join(VECTORS, 'layout')}:${name}`, `docker://${image}`], {
    stdio: 'inherit',
  });
  return image;
}

/** Pulls a vector and compares what a snapshotter shows of it with what it should be. */
export function expectVector(test, namespace, name) {
  const image = pushVector(test, name);
  pull(test, namespace, image);
  assert.deepEqual(viewed(test, namespace, image, shownAt), expectedOf(name), name);
  test.daemon.ctr(ns(test, namespace), 'images', 'remove', '--sync', image);
}

let views = 0;

/** What `look` finds in a snapshot on a pulled image. `ctr images mount` can't say it: it does not know the draft's layers. */
export function viewed(test, namespace, image, look) {
  const [key, target] = [`view-${views}`, test.at(`view-${views++}`)];
  const snapshots = (...args) =>
    test.daemon.ctr(ns(test, namespace), 'snapshots', '--snapshotter', test.snapshotter, ...args);
  mkdirSync(target);
  execFileSync('sh', ['-c', snapshots('prepare', '--target', target, key, chainIdOf(image))]);
  try {
    return look(target);
  } finally {
    execFileSync('umount', [target]);
    snapshots('remove', key);
  }
}

function chainIdOf(image) {
  const args = ['inspect', '--config', '--raw', '--tls-verify=false', `docker://${image}`];
  const { rootfs } = JSON.parse(execFileSync('skopeo', args, { encoding: 'utf8' }));
  return rootfs.diff_ids.reduce((chain, diffId) => `sha256:${sha256(`${chain} ${diffId}`)}`);
}

/** A pull must fail, by these words; no snapshot and no image is left. */
export function expectNotPulled(test, namespace, name, words, snapshotter = test.snapshotter) {
  const image = pushVector(test, name);
  const full = ns(test, namespace);
  const there = () => {
    test.daemon.ctr(full, 'content', 'prune', 'references'); // collects what nothing has
    return [
      test.daemon.ctr(full, 'snapshots', '--snapshotter', snapshotter, 'list'),
      test.daemon.ctr(full, 'images', 'list', '--quiet'),
    ];
  };
  const before = there();
  assert.throws(() => pull(test, namespace, image, snapshotter), words, name);
  assert.deepEqual(there(), before, name);
}

const expectedOf = (name) =>
  vectors.get(name).tree.map(({ path, type, mode, sha256 }) => [path, type, mode, sha256]);

/** Path, type, mode and content of everything, as vectors.json has them. */
function shownAt(root) {
  const entries = [];
  const visit = (path) => {
    const status = lstatSync(join(root, path));
    const type = status.isFile()
      ? 'file'
      : status.isDirectory()
        ? 'dir'
        : status.isSymbolicLink()
          ? 'symlink'
          : 'char';
    const mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
    entries.push([path, type, mode, status.isFile() ? sha256(readFileSync(join(root, path))) : null]);
    if (type === 'dir') for (const name of readdirSync(join(root, path))) visit(join(path, name));
  };
  visit('/');
  const isLink = ([, type]) => type === 'symlink';
  return entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map((entry) => (isLink(entry) ? [entry[0], entry[1], '0644', null] : entry));
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
