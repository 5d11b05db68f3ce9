// Stock containerd with our proxy snapshotter: images are pulled lazily, run, removed, and are what containerd's own overlayfs snapshotter makes
// of their sources; images of tars are unpacked as usual; killed servers come back.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EROFS, HOST, startContainerd, unpacking } from './support/containerd-daemon.mjs';
import { execInPod, runPod } from './support/cri-pod.mjs';
import { emptyFolder, endAll, unmountAll } from './support/reboot.mjs';
import { expectNotPulled, expectVector, viewed } from './support/composite-images.mjs';
import { pullHostileImages } from './support/hostile-images.mjs';
import { killAtRandom } from './support/kills.mjs';
import { startServer } from './support/lazy-server.mjs';
import { removeAll } from './support/leftovers.mjs';
import {
  PAUSE,
  convert,
  exec,
  fetchedBy,
  importPause,
  layersOf,
  layersOfLayout,
  ns,
  onceConnected,
  pull,
  pulling,
  push,
  removeContainer,
  run,
  runAll,
  runBy,
  runOn,
  sourceTree,
  treeOfImage,
  twoContainers,
} from './support/node.mjs';
import { startRegistry } from './support/registry.mjs';
import {
  EXPECTED_OUTPUT,
  MANY_OUTPUT,
  writeMoreImages,
  writeSharingImages,
} from './support/sample-image.mjs';
import { runScenario } from './support/scenario.mjs';
import { treeOf } from './support/tree.mjs';

const SHARING = { count: 10, bytes: 96 * 2 ** 20 };
const SNAPSHOTTER = 'seekable';

const configuration = ({ snapshotter }) => `
[proxy_plugins.${SNAPSHOTTER}]
  type = 'snapshot'
  address = '${snapshotter}'
  platform = '${EROFS}'
  [proxy_plugins.${SNAPSHOTTER}.exports]
    enable_remote_snapshot_annotations = 'true'
${unpacking(EROFS, SNAPSHOTTER, 'walking')}
${unpacking(EROFS, 'erofs', 'erofs')}
${unpacking(HOST, 'overlayfs', 'walking')}
`;

async function inside(directory, bin, groups, noCrictl) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSharingImages(at('sharing'), SHARING);
  execFileSync('tar', ['-C', at('sharing'), '-cf', at('sharing.tar'), '.']);
  writeMoreImages(at('more'));
  for (const name of ['unseen', 'devices']) writeSharingImages(at(name), { count: 0, bytes: 2 ** 20 });
  const sockets = { snapshotter: at('snapshotter.sock') };
  const registry = await startRegistry(directory);
  const server = await startServer(directory, sockets, ['--containerd-address', at('socket')]);
  const daemon = await startContainerd({
    bin,
    directory,
    pause: PAUSE,
    extra: configuration(sockets),
    snapshotter: SNAPSHOTTER,
  });
  const pullFlags = ['--plain-http'];
  const node = { daemon, server, registry, groups, at, noCrictl };
  const test = { ...node, snapshotter: SNAPSHOTTER, pullFlags, mountsTrees: true };
  importPause(test);
  await runAll(test, scenarios);
}

const scenarios = {
  pullLazily,
  sameTree,
  byCri,
  tars,
  bothForms,
  composites,
  sharedLayers,
  twoContainers,
  manyLayers,
  mixedNode,
  hostile,
  hostileVectors,
  reboot,
  killed: (test) => killAtRandom(test, () => test.server.comesUp()),
  nothingLeft: removeAll,
};

/** Three layers, through ctr: what is fetched at the pull is next to nothing. */
function pullLazily(test) {
  for (const [name, ...flags] of [
    ['three', '--dm-verity'],
    ['spec', '--profile', 'erofs-image-spec', '--dm-verity'],
    ['lone', '--profile', 'erofs-image-spec', '--index', 'standalone'],
  ]) {
    const image = convert(test, name, 'sharing:three', ...flags);
    const fetched = fetchedBy(test, () => pull(test, 'lazy', image));
    const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
    const size = layersOf(image).reduce((sum, layer) => sum + layer.size, 0);
    assert.ok(bytes < size * 0.02, `${name}: ${bytes} bytes of ${size} were fetched at the pull`);
    assert.equal(run(test, 'lazy', image), EXPECTED_OUTPUT, name);
    expectSnapshots(test, 'lazy');
    console.log(`ok: an image is pulled lazily, and run (${name})`);
  }
}

/** The tree is the one that containerd's overlayfs snapshotter makes of the source image. */
function sameTree(test) {
  const image = convert(test, 'tree', 'sharing:three');
  pull(test, 'tree', image);
  const [ours, theirs] = [treeOfImage(test, 'tree', image), sourceTree(test)];
  assert.ok(theirs.split('\n').length > 20);
  assert.equal(ours, theirs);
  console.log("ok: the tree of a lazy image is overlayfs's of its source");
}

/** By the interface that Kubernetes uses. */
async function byCri(test) {
  const { daemon, groups, at, noCrictl } = test;
  if (noCrictl !== '') {
    console.log(`SKIP: CRI: ${noCrictl}`);
    return;
  }
  const image = convert(test, 'cri', 'sharing:three');
  const fetched = fetchedBy(test, () => daemon.crictl('pull', image));
  const [base] = layersOf(image);
  const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
  assert.ok(bytes < base.size * 0.02, `${bytes} bytes of ${base.size} were fetched at the pull by CRI`);
  const printed = await runPod(daemon, { image, directory: at('pod'), cgroup: `/${groups}-cri` });
  assert.equal(printed, EXPECTED_OUTPUT);
  const sleeping = convert(test, 'cri-sleeping', 'sharing:sleeping');
  daemon.crictl('pull', sleeping);
  const place = { image: sleeping, directory: at('pod-sleeping'), cgroup: `/${groups}-cri` };
  const script = 'read a < /data/kept; echo $a; sleep 1';
  assert.equal(await execInPod(daemon, place, script), 'kept\n');
  for (const name of [image, sleeping]) daemon.crictl('rmi', name);
  console.log('ok: a pod of a lazy image, by CRI: pull, run, exec, stop, remove');
}

/** Layers that are tars are unpacked by containerd, as overlayfs would have them. */
function tars(test) {
  const image = push(test, 'tars', 'three');
  pull(test, 'tars', image);
  assert.equal(run(test, 'tars', image), EXPECTED_OUTPUT);
  assert.equal(treeOfImage(test, 'tars', image), sourceTree(test));
  console.log('ok: an image of tars is unpacked, and run');
}

/** An index of tars and EROFS, by its plain tag and without a flag: nothing of the tars is fetched. */
function bothForms(test) {
  const { daemon, at } = test;
  const image = convert(test, 'both', 'sharing:three', '--append-to-index');
  const gets = [() => pull(test, 'both', image)];
  if (test.noCrictl === '') gets.push(() => daemon.crictl('pull', image));
  const sources = layersOfLayout(at('sharing'), 'three');
  for (const get of gets) {
    const paths = fetchedBy(test, get).map(({ path }) => path);
    assert.deepEqual(
      paths.filter((path) => sources.some((digest) => path.endsWith(digest))),
      [],
    );
  }
  assert.equal(run(test, 'both', image), EXPECTED_OUTPUT);
  assert.equal(treeOfImage(test, 'both', image), sourceTree(test));
  console.log('ok: an index of tars and EROFS starts from EROFS by its plain tag');
}

/** Devices and data-only layers: the trees are what they should be, and what does not fit together is not pulled, by the name of its rule. */
function composites(test) {
  const space = 'composites';
  // By it the server knows the registry's port, which containerd does not say of layers of the draft.
  pull(test, space, convert(test, 'before', 'devices:three'));
  const flags = ['--profile', 'erofs-image-spec', '--device-tar'];
  const device = convert(test, 'device', 'sharing:three', ...flags);
  pull(test, space, device);
  assert.equal(run(test, space, device), EXPECTED_OUTPUT);
  assert.equal(viewed(test, space, device, treeOf), sourceTree(test));
  expectOneRole(test, space, flags);
  const good = ['device-tar', 'device-gzip', 'device-zstd', 'device-zstd-index', 'device-erofs-zstd'];
  for (const name of [...good, 'data', 'data-index', 'data-several', 'data-above'])
    expectVector(test, space, name);
  for (const [name, rule] of Object.entries({
    'data-missing': 'data-redirect',
    'device-not-gzip': 'device-content',
    'last-data': 'last-entry',
    'index-target': 'index-target',
    'role-of-tar': 'role-media-type',
  }))
    expectNotPulled(test, space, name, new RegExp(`breaks the rule .*${rule}`));
  // containerd knows neither a device of any type, nor a config without DiffIDs.
  for (const name of ['device-octets', 'no-rootfs'])
    expectNotPulled(test, space, name, /diffIDs don't match/);
  console.log('ok: images of devices and data-only layers; those that are wrong are not pulled');
}

/** Tars that are devices of one image and layers of another: nobody is given the device for a layer. No other image here has them. */
function expectOneRole(test, space, flags) {
  const device = convert(test, 'one-role', 'devices:three', ...flags);
  pull(test, space, device);
  const tree = viewed(test, space, device, treeOf);
  const tars = push(test, 'one-role-tars', 'three', 'devices');
  assert.throws(() => pull(test, space, tars), /remove that image first/);
  const both = convert(test, 'one-role-both', 'devices:three', ...flags, '--append-to-index');
  assert.throws(() => pull(test, 'composites-both', both), /remove that image first/);
  test.daemon.ctr(ns(test, space), 'images', 'remove', '--sync', device);
  pull(test, 'composites-both', both);
  assert.equal(run(test, 'composites-both', both), EXPECTED_OUTPUT);
  assert.equal(treeOfImage(test, 'composites-both', both), tree);
}

/** Ten images at once that share their layers: each layer is mounted once. */
async function sharedLayers(test) {
  const { daemon } = test;
  const images = Array.from({ length: SHARING.count }, (_, i) => convert(test, `shared${i}`, `sharing:${i}`));
  const pulls = images.map((image) => daemon.begin(ns(test, 'shared'), ...pulling(test, image)));
  await Promise.all(pulls);
  for (const [i, image] of images.entries())
    assert.equal(
      run(test, 'shared', image, '/bin/sh', '-c', 'read own < /own; echo $own; sleep 1'),
      `${i}\n`,
    );
  const names = listed(test, 'shared');
  assert.equal(names.length, 3 + SHARING.count, names.join(' '));
  console.log('ok: ten images with shared layers at once');
}

/** As many layers as Docker takes: their folders fit the options of a mount. */
function manyLayers(test) {
  const image = convert(test, 'many', 'more:many');
  pull(test, 'many', image);
  assert.equal(run(test, 'many', image), MANY_OUTPUT);
  console.log('ok: an image of 127 layers');
}

/** Snapshotters side by side. */
function mixedNode(test) {
  const image = convert(test, 'mixed', 'sharing:three');
  const source = push(test, 'mixed-tars', 'three');
  for (const [snapshotter, name] of [
    [SNAPSHOTTER, image],
    ['erofs', image],
    ['overlayfs', source],
  ]) {
    pull(test, `mixed-${snapshotter}`, name, snapshotter);
    assert.equal(runBy(test, snapshotter, `mixed-${snapshotter}`, name), EXPECTED_OUTPUT);
  }
  console.log('ok: erofs, overlayfs and the proxy snapshotter side by side');
}

/** What a registry gives that is not what the manifest says: the pull fails, and nothing of it is there. */
function hostile(test) {
  const { registry, server } = test;
  const image = convert(test, 'hostile', 'unseen:three');
  const [layer] = layersOf(image);
  const offset = Number(layer.annotations['dev.containerd.erofs.zstd.chunk_table_offset']) + 16;
  const restore = registry.damage(layer.digest, offset);
  const before = readdirSync(server.layers).length;
  assert.throws(() => pull(test, 'hostile', image), /digest|corrupt|mismatch/i);
  restore();
  assert.equal(readdirSync(server.layers).length, before);
  pull(test, 'hostile', image);
  console.log('ok: a layer that is not what it should be is refused');
}

/** Layers that are made to deceive. Not refused are those whose frames are sound: by a wrong tree, at which no kernel here looks, or what nothing reads. */
function hostileVectors(test) {
  const seenWhole = pullHostileImages(test);
  assert.ok(
    seenWhole.every((name) => /^(verity_|root_|payload_long$)/.test(name)),
    `not refused: ${seenWhole}`,
  );
  assert.deepEqual(listed(test, 'vectors'), []);
}

/** All processes are gone, and so is what was mounted and in memory; what is on disk is there. */
async function reboot(test) {
  const { daemon, server, at } = test;
  const image = convert(test, 'reboot', 'sharing:sleeping', '--dm-verity');
  pull(test, 'reboot', image);
  runOn(test, 'reboot', image, 'kept');
  exec(test, 'reboot', 'kept', 'echo mine > /data/kept');
  await daemon.kill();
  await server.kill({ all: true });
  endAll('containerd-shim', '/usr/bin/sleep');
  unmountAll([at(''), '/run/']);
  emptyFolder(server.state, 'content'); // as they are by default: in /run, and in /var/lib
  for (const folder of [at('state'), '/run']) emptyFolder(folder);
  await server.start();
  await daemon.start();
  await onceConnected(() => daemon.ctr(ns(test, 'reboot'), 'tasks', 'start', '--detach', 'kept'));
  assert.equal(exec(test, 'reboot', 'kept', 'read a < /data/kept; echo $a; sleep 1'), 'mine\n');
  const read = exec(test, 'reboot', 'kept', 'sha256sum /data/big; sleep 1').trim();
  assert.ok(EXPECTED_OUTPUT.includes(read), read);
  removeContainer(test, 'reboot', 'kept');
  console.log('ok: after a reboot a container that was there starts again, with what it wrote');
}

function listed(test, namespace, full = ns(test, namespace)) {
  const lines = test.daemon
    .ctr(full, 'snapshots', '--snapshotter', SNAPSHOTTER, 'list')
    .trim()
    .split('\n')
    .slice(1);
  return lines.map((line) => line.split(/\s+/)[0]);
}

function expectSnapshots(test, namespace) {
  const names = listed(test, namespace);
  assert.ok(
    names.every((name) => name.startsWith('sha256:')),
    `containers leave no snapshots: ${names}`,
  );
}

await runScenario(fileURLToPath(import.meta.url), inside);
