// What scenarios do on a node with containerd and a registry. `test` is `{daemon, registry, groups, at, snapshotter, pullFlags}`: where images are
// pulled to unless said otherwise, and how; names of namespaces begin with `groups`, `at(NAME)` is a path in the scenario's folder.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { program } from './lazy-server.mjs';
import { treeOf } from './tree.mjs';

/** The image that keeps pods alive. */
export const PAUSE = 'example.test/pause:1';
const TIMEOUT = 5 * 60_000;
const CONNECT_TIME = 30_000;

/** The whole name of a namespace of the scenario. */
export const ns = ({ groups }, name) => `${groups}-${name}`;

/** Runs the program that is tested, and gives what it printed. */
export function cli(...args) {
  return execFileSync(process.execPath, [program(), ...args], { encoding: 'utf8', timeout: TIMEOUT });
}

/** Converts a source image (`FOLDER:NAME`, a layout of the scenario's), and gives its name in the registry. */
export function convert({ registry, at }, name, source, ...flags) {
  const [folder, reference] = source.split(':');
  const image = `${registry.host}/sample:${name}`;
  const size = flags.includes('--chunk-size') ? [] : ['--chunk-size', '256KiB'];
  cli('convert', `oci:${at(folder)}:${reference}`, `docker://${image}`, '--quiet', ...size, ...flags);
  return image;
}

/** Puts a source image into the registry as it is. */
export function push({ registry, at }, name, reference, folder = 'sharing') {
  const image = `${registry.host}/sample:${name}`;
  const flags = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy'];
  const names = [`oci:${at(folder)}:${reference}`, `docker://${image}`];
  execFileSync('skopeo', [...flags, ...names], { stdio: 'inherit' });
  return image;
}

/** Has CRI's image for pods in containerd, converted from `more:pause`. */
export function importPause(test) {
  const image = convert(test, 'pause', 'more:pause');
  test.daemon.ctr('k8s.io', ...pulling(test, image));
  test.daemon.ctr('k8s.io', 'images', 'tag', image, PAUSE);
}

/** Arguments of ctr for a pull. */
export const pulling = ({ snapshotter, pullFlags }, image, into = snapshotter) => [
  ...['images', 'pull', '--snapshotter', into],
  ...pullFlags,
  image,
];

export function pull(test, namespace, image, snapshotter) {
  test.daemon.ctr(ns(test, namespace), ...pulling(test, image, snapshotter));
}

/** containerd waits before it connects again where it was refused, and fails all calls meanwhile. */
export async function onceConnected(act) {
  for (const deadline = Date.now() + CONNECT_TIME; ;) {
    try {
      return act();
    } catch (error) {
      const isRefused = /connection (error|refused)|Unavailable/i.test(error.message);
      if (Date.now() > deadline || !isRefused) throw error;
      await sleep(500);
    }
  }
}

let containers = 0;

/** Runs a container to its end, and gives what it printed. */
export function run(test, namespace, image, ...command) {
  return runBy(test, test.snapshotter, namespace, image, ...command);
}

/** The same by another snapshotter. */
export function runBy(test, snapshotter, namespace, image, ...command) {
  const flags = ['run', '--rm', '--snapshotter', snapshotter, image, `c${containers++}`, ...command];
  return test.daemon.ctr(ns(test, namespace), ...flags);
}

/** Starts a container that runs on. */
export function runOn(test, namespace, image, name, ...command) {
  const flags = ['run', '--detach', '--snapshotter', test.snapshotter, image, name, ...command];
  test.daemon.ctr(ns(test, namespace), ...flags);
}

/** Arguments of ctr for a script in a running container. */
export const executing = (name, script) => [
  ...['tasks', 'exec', '--exec-id', `e${containers++}`, name],
  ...['/bin/sh', '-c', script],
];

export function exec(test, namespace, name, script) {
  return test.daemon.ctr(ns(test, namespace), ...executing(name, script));
}

export function removeContainer(test, namespace, name) {
  test.daemon.ctr(ns(test, namespace), 'tasks', 'delete', '--force', name);
  test.daemon.ctr(ns(test, namespace), 'containers', 'delete', name);
}

/** Containers of one image write to folders of their own, and can be entered. */
export function twoContainers(test) {
  const image = convert(test, 'sleeping', 'sharing:sleeping');
  pull(test, 'two', image);
  for (const name of ['one', 'other']) runOn(test, 'two', image, name);
  exec(test, 'two', 'one', 'echo mine > /data/kept');
  assert.equal(exec(test, 'two', 'one', 'read a < /data/kept; echo $a; sleep 1'), 'mine\n');
  assert.equal(exec(test, 'two', 'other', 'read a < /data/kept; echo $a; sleep 1'), 'kept\n');
  for (const name of ['one', 'other']) removeContainer(test, 'two', name);
  console.log('ok: two containers of one image');
}

/** The tree of a pulled image, as a snapshotter shows it. */
export function treeOfImage(test, namespace, image, snapshotter = test.snapshotter) {
  const [full, target] = [ns(test, namespace), test.at(`tree-${containers++}`)];
  mkdirSync(target, { recursive: true });
  test.daemon.ctr(full, 'images', 'mount', '--rw', '--snapshotter', snapshotter, image, target);
  try {
    return treeOf(target);
  } finally {
    test.daemon.ctr(full, 'images', 'unmount', '--rm', '--snapshotter', snapshotter, target);
  }
}

/** The tree of the source image `three`, as containerd's overlayfs snapshotter shows it. */
export function sourceTree(test) {
  const flags = ['--snapshotter', 'overlayfs', '--base-name', 'example.test/source'];
  test.daemon.ctr(ns(test, 'source'), 'images', 'import', ...flags, test.at('sharing.tar'));
  return treeOfImage(test, 'source', 'example.test/source:three', 'overlayfs');
}

/** Layers that containerd's erofs snapshotter has unpacked. */
export const layerFiles = ({ daemon }) =>
  readdirSync(daemon.snapshots)
    .map((id) => join(daemon.snapshots, id, 'layer.erofs'))
    .filter((file) => existsSync(file));

/** What the registry was asked for while `act` ran. */
export function fetchedBy({ registry }, act) {
  const before = registry.sent().length;
  act();
  return registry.sent().slice(before);
}

export function manifestOf(image) {
  const args = ['inspect', '--raw', '--tls-verify=false', `docker://${image}`];
  return JSON.parse(execFileSync('skopeo', args, { encoding: 'utf8' }));
}

export const layersOf = (image) => manifestOf(image).layers;

/** The digests of the layers of an image in a layout. */
export function layersOfLayout(folder, name) {
  const { manifests } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'));
  const { digest } = manifests.find(
    ({ annotations }) => annotations['org.opencontainers.image.ref.name'] === name,
  );
  const manifest = readFileSync(join(folder, 'blobs', digest.replace(':', '/')), 'utf8');
  return JSON.parse(manifest).layers.map((layer) => layer.digest);
}

/** Runs those of the scenarios that $SCENARIOS names, or all; says what the programs complained of when one fails. */
export async function runAll(test, scenarios) {
  const wanted = process.env.SCENARIOS?.split(',');
  try {
    for (const [name, scenario] of Object.entries(scenarios)) {
      if (wanted === undefined || wanted.includes(name)) await scenario(test);
    }
  } catch (error) {
    console.error(test.daemon.complaints, test.server.log);
    throw error;
  } finally {
    test.registry.stop();
    await test.daemon.stop();
    await test.server.stop();
  }
}
