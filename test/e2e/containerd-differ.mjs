// Stock containerd with its own erofs snapshotter and our proxy differ: layers are unpacked and checked by us, run through ctr and CRI, removed,
// and what was refused, cancelled or killed half-way leaves nothing.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HOST, differing, startContainerd, unpacking } from './support/containerd-daemon.mjs';
import { expectNotPulled } from './support/composite-images.mjs';
import { pullHostileImages } from './support/hostile-images.mjs';
import { startServer } from './support/lazy-server.mjs';
import { removeAll } from './support/leftovers.mjs';
import {
  PAUSE,
  convert,
  exec,
  importPause,
  layerFiles,
  layersOf,
  ns,
  onceConnected,
  pull,
  pulling,
  removeContainer,
  run,
  runAll,
  runOn,
  sourceTree,
  treeOfImage,
} from './support/node.mjs';
import { execInPod, runPod } from './support/cri-pod.mjs';
import { startRegistry } from './support/registry.mjs';
import { EXPECTED_OUTPUT, writeMoreImages, writeSharingImages } from './support/sample-image.mjs';
import { runScenario } from './support/scenario.mjs';

const configuration = ({ differ }) => `
${differing(differ)}
${unpacking(HOST, 'overlayfs', 'walking')}
`;

async function inside(directory, bin, groups, noCrictl) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSharingImages(at('sharing'), { count: 1, bytes: 48 * 2 ** 20 });
  execFileSync('tar', ['-C', at('sharing'), '-cf', at('sharing.tar'), '.']);
  writeMoreImages(at('more'));
  writeSharingImages(at('unseen'), { count: 0, bytes: 2 ** 20 });
  const sockets = { differ: at('differ.sock') };
  const registry = await startRegistry(directory);
  const server = await startServer(directory, sockets);
  const daemon = await startContainerd({
    bin,
    directory,
    pause: PAUSE,
    extra: configuration(sockets),
    differs: ['seekable-diff', 'erofs', 'walking'],
  });
  const pullFlags = ['--plain-http'];
  const test = { daemon, server, registry, groups, at, noCrictl, snapshotter: 'erofs', pullFlags };
  importPause(test);
  await runAll(test, scenarios);
}

const scenarios = {
  unpacked,
  sameTree,
  byCri,
  composites,
  hostile,
  hostileVectors,
  killed,
  cancelled,
  nothingLeft: removeAll,
};

/** Layers of both profiles, with their trees. */
function unpacked(test) {
  const { daemon, server } = test;
  for (const [name, ...flags] of [
    ['plain'],
    ['verity', '--dm-verity'],
    ['spec', '--profile', 'erofs-image-spec'],
  ]) {
    const before = new Set(layerFiles(test));
    const image = convert(test, name, 'sharing:three', ...flags);
    pull(test, name, image);
    const files = layerFiles(test).filter((file) => !before.has(file));
    assert.equal(files.length, 3, server.log);
    assert.equal(files.filter((file) => existsSync(`${file}.dmverity`)).length, name === 'verity' ? 3 : 0);
    if (name !== 'verity') assert.equal(run(test, name, image), EXPECTED_OUTPUT); // containerd needs the kernel's dm-verity then
    daemon.ctr(ns(test, name), 'images', 'remove', '--sync', image);
  }
  assert.match(server.log, /containerd: apply /);
  assert.equal(layerFiles(test).length, 1, 'but for the image of pods');
  console.log('ok: the differ unpacks layers of both profiles, with their trees');
}

/** The tree is the one that containerd's overlayfs snapshotter makes of the source image; a container of it can be entered. */
function sameTree(test) {
  const image = convert(test, 'tree', 'sharing:sleeping');
  pull(test, 'tree', image);
  assert.equal(treeOfImage(test, 'tree', image), sourceTree(test));
  runOn(test, 'tree', image, 'sleeper');
  assert.equal(exec(test, 'tree', 'sleeper', 'read a < /data/kept; echo $a; sleep 1'), 'kept\n');
  removeContainer(test, 'tree', 'sleeper');
  console.log(
    "ok: the tree of a layer that the differ unpacked is overlayfs's of its source; run, exec, stop",
  );
}

/** By the interface that Kubernetes uses. */
async function byCri(test) {
  const { daemon, groups, at, noCrictl, server } = test;
  if (noCrictl !== '') {
    console.log(`SKIP: CRI: ${noCrictl}`);
    return;
  }
  const image = convert(test, 'cri', 'unseen:three');
  const [before, log] = [layerFiles(test).length, server.log.length];
  daemon.crictl('pull', image);
  assert.equal(layerFiles(test).length, before + 3);
  assert.equal(server.log.slice(log).match(/containerd: apply /g)?.length, 3, 'the differ was asked');
  const place = (name) => ({ image: name, directory: at(`pod${pods++}`), cgroup: `/${groups}-cri` });
  let pods = 0;
  assert.equal(await runPod(daemon, place(image)), EXPECTED_OUTPUT);
  const sleeping = convert(test, 'cri-sleeping', 'unseen:sleeping');
  daemon.crictl('pull', sleeping);
  const script = 'read a < /data/kept; echo $a; sleep 1';
  assert.equal(await execInPod(daemon, place(sleeping), script), 'kept\n');
  for (const name of [image, sleeping]) daemon.crictl('rmi', name);
  await until(() => layerFiles(test).length === before, 'layers of a removed image are collected');
  console.log('ok: a pod of an image that the differ unpacked, by CRI: pull, run, exec, stop, remove, gc');
}

/** containerd's erofs snapshotter has neither devices nor data-only layers: such images are not pulled, and nothing of them stays. */
function composites(test) {
  const before = layerFiles(test);
  for (const name of ['device-tar', 'device-zstd-index', 'device-erofs-zstd', 'data', 'data-index'])
    expectNotPulled(test, 'composites', name, /it has the role (device|overlay-data)/);
  expectNotPulled(test, 'composites', 'device-missing', /its files are on devices/);
  assert.deepEqual(layerFiles(test), before);
  expectWhole(test);
  const image = convert(test, 'after', 'unseen:three', '--profile', 'erofs-image-spec');
  pull(test, 'composites', image);
  assert.equal(run(test, 'composites', image), EXPECTED_OUTPUT);
  console.log('ok: images of devices and data-only layers are refused, and nothing is left of them');
}

/** What a registry gives that is not what the manifest says: the pull fails, and nothing of it is there. */
function hostile(test) {
  const image = convert(test, 'hostile', 'unseen:three', '--chunk-size', '64KiB');
  const [layer] = layersOf(image);
  const offset = Number(layer.annotations['dev.containerd.erofs.zstd.chunk_table_offset']) + 16;
  const restore = test.registry.damage(layer.digest, offset);
  const before = layerFiles(test);
  assert.throws(() => pull(test, 'hostile', image), /digest|corrupt|mismatch/i);
  restore();
  assert.deepEqual(layerFiles(test), before);
  expectWhole(test);
  console.log('ok: a layer that is not what it should be is not unpacked');
}

/** Layers that are made to deceive are not unpacked. */
function hostileVectors(test) {
  const before = layerFiles(test);
  assert.deepEqual(
    pullHostileImages(test, () => 'unpacked'),
    [],
  );
  assert.deepEqual(layerFiles(test), before);
  expectWhole(test);
}

/** The differ is killed while it unpacks: nothing half-written stays, and the next pull goes through. */
async function killed(test) {
  const { daemon, server } = test;
  const image = convert(test, 'killed', 'sharing:0', '--chunk-size', '1MiB', '--dm-verity');
  const seen = new Set();
  for (let round = 0; round < 6; round++) {
    const underWay = daemon.begin(ns(test, 'killed'), ...pulling(test, image)).catch(() => undefined);
    await sleep(100 + 150 * round);
    server.killPart('door-main');
    await underWay;
    await server.comesUp();
    expectWhole(test);
    for (const size of sizesOf(test)) seen.add(size);
    removeImage(test, 'killed', image);
  }
  await onceConnected(() => pull(test, 'killed', image));
  expectWhole(test);
  const whole = sizesOf(test);
  assert.deepEqual(
    [...seen].filter((size) => !whole.includes(size)),
    [],
    'parts of layers were seen',
  );
  removeImage(test, 'killed', image);
  console.log('ok: a differ that is killed while it unpacks leaves no part of a layer');
}

/** Who asked for a pull is gone. */
async function cancelled(test) {
  const { daemon } = test;
  const image = convert(test, 'cancelled', 'sharing:0', '--chunk-size', '1MiB');
  for (const after of [200, 500, 900]) {
    const stop = new AbortController();
    const pulled = daemon.beginUntil(stop.signal, ns(test, 'cancelled'), ...pulling(test, image));
    await sleep(after);
    stop.abort();
    await pulled.catch(() => undefined);
    await sleep(300);
    expectWhole(test);
  }
  removeImage(test, 'cancelled', image);
  console.log('ok: a pull that is cancelled leaves no part of a layer');
}

function removeImage(test, namespace, image) {
  const { daemon } = test;
  daemon.ctr(ns(test, namespace), 'images', 'remove', '--sync', image);
}

/** Nothing in the folders of layers is unfinished. */
function expectWhole(test) {
  for (const path of filesOf(test)) {
    const name = path.split('/').at(-1);
    const known = ['.erofslayer', 'fs', 'work', 'layer.erofs', 'layer.erofs.dmverity'];
    assert.ok(known.includes(name), path);
    if (name === 'layer.erofs') assert.equal(readFileSync(path).readUInt32LE(1024), 0xe0f5e1e2, path);
  }
}

const sizesOf = (test) => layerFiles(test).map((path) => statSync(path).size);

/** All in the folders of the erofs snapshotter, but not in what is mounted there. */
const filesOf = ({ daemon }) =>
  readdirSync(daemon.snapshots)
    .flatMap((id) => readdirSync(join(daemon.snapshots, id)).map((name) => join(daemon.snapshots, id, name)))
    .sort();

async function until(holds, what) {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (holds()) return;
    await sleep(200);
  }
  assert.fail(what);
}

await runScenario(fileURLToPath(import.meta.url), inside);
