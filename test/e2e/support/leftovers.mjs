// When all images are gone, so is all that they had: in containerd, on disk, and of mounts.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const SNAPSHOTTERS = ['overlayfs', 'erofs'];
const PATIENCE = 20_000;

/** Removes all images, has containerd collect its garbage, and expects nothing to be left. */
export async function removeAll(test) {
  const namespaces = lines(test.daemon.ctr('default', 'namespaces', 'list', '--quiet'));
  for (const namespace of namespaces) removeImages(test.daemon, namespace);
  let left = [];
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(200)) {
    left = [...inContainerd(test, namespaces), ...onDisk(test), ...mounted(test)];
    if (left.length === 0) break;
  }
  assert.deepEqual(left, []);
  console.log('ok: nothing is left of images that were removed');
}

function removeImages(daemon, namespace) {
  const images = lines(daemon.ctr(namespace, 'images', 'list', '--quiet'));
  if (images.length > 0) daemon.ctr(namespace, 'images', 'remove', '--sync', ...images);
  // Of pulls that were under way when containerd was killed: it would keep what they had for a day.
  const leases = lines(daemon.ctr(namespace, 'leases', 'list', '--quiet'));
  if (leases.length > 0) daemon.ctr(namespace, 'leases', 'delete', '--sync', ...leases);
  daemon.ctr(namespace, 'content', 'prune', 'references');
}

function inContainerd({ daemon, snapshotter }, namespaces) {
  const all = [...new Set([...SNAPSHOTTERS, snapshotter])];
  return namespaces.flatMap((namespace) => [
    ...all.flatMap((name) =>
      lines(daemon.ctr(namespace, 'snapshots', '--snapshotter', name, 'list'))
        .slice(1)
        .map((line) => `snapshot of ${name}: ${line}`),
    ),
    ...['containers', 'tasks'].flatMap((kind) =>
      lines(daemon.ctr(namespace, kind, 'list', '--quiet')).map((name) => `${kind}: ${name}`),
    ),
    ...lines(daemon.ctr(namespace, 'content', 'list', '--quiet')).map((digest) => `content: ${digest}`),
  ]);
}

/** Snapshots of every snapshotter, records of mounts, half of something. */
function onDisk({ daemon, server }) {
  const { snapshotters } = daemon;
  const folders = [
    ...snapshotters.map((name) => join(name, 'snapshots')),
    ...['l', 'w'].map((name) => join(server.content, 'containerd', name)),
  ];
  const records = ['mounts', 'layers'].map((name) => join(server.state, name));
  const unfinished = namesIn(server.content).filter((name) => name.startsWith('.'));
  return [...folders, ...records]
    .flatMap((folder) => namesIn(folder).map((name) => join(folder, name)))
    .concat(unfinished);
}

/** But for what the server shows. */
function mounted({ daemon, server, shown = [] }) {
  const stays = [join(server.state, 'lazy/layers'), ...shown];
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => [server.state, daemon.root].some((folder) => target.startsWith(`${folder}/`)))
    .filter((target) => !stays.includes(target));
}

const namesIn = (folder) => (existsSync(folder) ? readdirSync(folder) : []);
const lines = (text) => text.trim().split('\n').filter(Boolean);
