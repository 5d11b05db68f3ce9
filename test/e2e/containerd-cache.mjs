// Stock containerd without any plugin of ours: its layer content cache is `serve --erofs-cache`, and `serve --registry` is its mirror. Images are
// pulled lazily, by ctr and by CRI, those of tars too where their EROFS form is in the same index; they are what containerd's own overlayfs
// snapshotter makes of their sources; killed servers come back.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startContainerd } from './support/containerd-daemon.mjs';
import { runPod } from './support/cri-pod.mjs';
import { goldenVariants, pushVariant } from './support/golden-images.mjs';
import { killAtRandom } from './support/kills.mjs';
import { startServer } from './support/lazy-server.mjs';
import { removeAll } from './support/leftovers.mjs';
import {
  PAUSE,
  cli,
  convert,
  exec,
  fetchedBy,
  importPause,
  layerFiles,
  layersOf,
  manifestOf,
  ns,
  pull,
  removeContainer,
  run,
  runAll,
  runOn,
  sourceTree,
  treeOfImage,
} from './support/node.mjs';
import { startRegistry } from './support/registry.mjs';
import { EXPECTED_OUTPUT, writeMoreImages, writeSharingImages } from './support/sample-image.mjs';
import { runScenario } from './support/scenario.mjs';

const START_TIME = 30_000;

async function inside(directory, bin, groups, noCrictl) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSharingImages(at('sharing'), { count: 4, bytes: 16 * 2 ** 20 });
  execFileSync('tar', ['-C', at('sharing'), '-cf', at('sharing.tar'), '.']);
  writeMoreImages(at('more'));
  writeSharingImages(at('unseen'), { count: 0, bytes: 2 ** 20 });
  const registry = await startRegistry(directory);
  const mirror = `127.0.0.1:${await freePort()}`;
  const flags = ['--erofs-cache', at('cache'), '--registry', mirror, '--upstream', registry.host];
  const server = await startServer(directory, {}, flags);
  const pullFlags = ['--hosts-dir', at('certs')];
  const test = { server, registry, groups, at, noCrictl, snapshotter: 'erofs', pullFlags };
  await comesUp(test);
  test.daemon = await startContainerd({ bin, directory, pause: PAUSE, extra: configuration(test, flags) });
  importPause(test);
  await runAll(test, scenarios);
  assert.deepEqual(readdirSync(at('cache')), [], 'nothing is left where the cache was shown');
}

const scenarios = {
  pullLazily,
  sameTree,
  specProfile,
  byCri,
  bothForms,
  bothFormsByCri,
  hostile,
  golden,
  removed,
  killed: (test) => killAtRandom(test, () => comesUp(test)),
  nothingLeft,
};

/** What `serve` prints for these flags, less what the test's containerd has already; its files for mirrors are written. */
function configuration({ at, registry }, flags) {
  const printed = cli('serve', ...flags, '--print-config', 'containerd').replaceAll(
    '/etc/containerd/certs.d',
    at('certs'),
  );
  const [config, hosts] = printed.split(/^# For .*hosts\.toml.*$/m);
  mkdirSync(join(at('certs'), registry.host), { recursive: true });
  writeFileSync(join(at('certs'), registry.host, 'hosts.toml'), hosts.replaceAll(/^# /gm, ''));
  const there = ["snapshotter.v1.erofs']", "diff-service']", "cri.v1.images']"];
  const sections = config.split(/\n(?=\[)/).slice(1);
  assert.ok(sections.some((section) => section.includes(`layer_content_caches = ['${at('cache')}']`)));
  return sections
    .filter(
      (section) => !there.some((name) => section.startsWith('[') && section.split('\n')[0].endsWith(name)),
    )
    .join('\n');
}

/** Three layers, through ctr: what is fetched at the pull is next to nothing. */
function pullLazily(test) {
  const image = convert(test, 'three', 'sharing:three');
  const fetched = fetchedBy(test, () => pull(test, 'lazy', image));
  expectLittle(fetched, layersOf(image), 'at the pull');
  assert.equal(run(test, 'lazy', image), EXPECTED_OUTPUT);
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
  console.log('ok: an image is pulled lazily through the mirror, and run');
}

/** The tree is the one that containerd's overlayfs snapshotter makes of the source image. */
function sameTree(test) {
  const image = convert(test, 'tree', 'sharing:three');
  pull(test, 'tree', image);
  const ours = treeOfImage(test, 'tree', image);
  const theirs = sourceTree(test);
  assert.ok(theirs.split('\n').length > 20);
  assert.equal(ours, theirs);
  console.log("ok: the tree of a lazy image is overlayfs's of its source");
}

/** Layers of the draft specification, which containerd takes for layers by its configuration. */
function specProfile(test) {
  const image = convert(test, 'spec', 'sharing:2', '--profile', 'erofs-image-spec', '--chunk-size', '64KiB');
  const fetched = fetchedBy(test, () => pull(test, 'spec', image));
  const layers = layersOf(image);
  const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  assert.ok(bytes < size / 4, `${bytes} bytes of ${size} were fetched at the pull`);
  assert.equal(run(test, 'spec', image, '/bin/sh', '-c', 'read own < /own; echo $own; sleep 1'), '2\n');
  console.log('ok: an image of profile erofs-image-spec is pulled lazily, and run');
}

/** By the interface that Kubernetes uses. */
async function byCri(test) {
  const { daemon, groups, at, noCrictl } = test;
  if (noCrictl !== '') {
    console.log(`SKIP: CRI: ${noCrictl}`);
    return;
  }
  const image = convert(test, 'cri', 'sharing:three', '--chunk-size', '128KiB');
  const fetched = fetchedBy(test, () => daemon.crictl('pull', image));
  expectLittle(fetched, layersOf(image), 'at the pull by CRI');
  const printed = await runPod(daemon, { image, directory: at('pod'), cgroup: `/${groups}-cri` });
  assert.equal(printed, EXPECTED_OUTPUT);
  daemon.crictl('rmi', image);
  console.log('ok: a pod of a lazy image, by CRI');
}

/** An index of tars and EROFS under one tag, which is pulled as it is: nothing of the tars is fetched. */
function bothForms(test) {
  const image = convert(test, 'both', 'sharing:1', '--append-to-index');
  const fetched = fetchedBy(test, () => pull(test, 'both', image));
  expectNoTars(fetched, image);
  assert.equal(run(test, 'both', image, '/bin/sh', '-c', 'read own < /own; echo $own; sleep 1'), '1\n');
  const three = convert(test, 'both-three', 'sharing:three', '--append-to-index');
  pull(test, 'both', three);
  assert.equal(run(test, 'both', three), EXPECTED_OUTPUT);
  assert.equal(treeOfImage(test, 'both', three), sourceTree(test));
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
  console.log('ok: an index of both forms, by its plain tag: lazily from EROFS');
}

async function bothFormsByCri(test) {
  const { daemon, groups, at, noCrictl } = test;
  if (noCrictl !== '') {
    console.log(`SKIP: CRI: ${noCrictl}`);
    return;
  }
  const image = convert(test, 'both-cri', 'more:index', '--append-to-index');
  const fetched = fetchedBy(test, () => daemon.crictl('pull', image));
  expectNoTars(fetched, image);
  const printed = await runPod(daemon, { image, directory: at('pod-both'), cgroup: `/${groups}-both` });
  assert.equal(printed, EXPECTED_OUTPUT);
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
  console.log('ok: an index of both forms in a pod, by CRI');
}

/** What a registry gives that is not what the manifest says: the pull fails, and nothing of it is there. */
function hostile(test) {
  const { registry } = test;
  const image = convert(test, 'hostile', 'unseen:three');
  const [layer] = layersOf(image);
  const offset = Number(layer.annotations['dev.containerd.erofs.zstd.chunk_table_offset']) + 16;
  const restore = registry.damage(layer.digest, offset);
  const before = shownImages(test);
  assert.throws(() => pull(test, 'hostile', image));
  assert.deepEqual(shownImages(test), before);
  restore();
  // containerd has the manifest from before, and what it got of the layer: of its tag it asks only what it names.
  expectNothingWhole(test, image, () => pull(test, 'hostile', image));
  assert.equal(run(test, 'hostile', image), EXPECTED_OUTPUT);
  for (const namespace of ['hostile', 'hostile-anew']) {
    lazy(test, 'rm', `docker://${image}`);
    expectNothingWhole(test, image, () => pull(test, namespace, image));
    assert.equal(run(test, namespace, image), EXPECTED_OUTPUT, `${namespace}, removed from the cache before`);
  }
  console.log('ok: a layer whose table is not what the manifest says is neither shown nor pulled');
}

/**
 * Hostile blobs of every kind. What the cache does not take is left to containerd, which compares the DiffID of what it unpacks: the rest of a blob
 * is nothing to it. Neither shows nor stores a byte that is not the image's.
 */
async function golden(test) {
  const { daemon, registry, server } = test;
  const outcomes = { refused: [], unpacked: [], shown: [], unreadable: [] };
  for (const variant of goldenVariants()) {
    const image = await pushVariant(registry.host, variant);
    const before = layerFiles(test);
    const isPulled = succeeds(() => pull(test, 'golden', image));
    const entries = goldenEntries(test, variant).map((name) => join(test.at('cache'), name));
    const areRight = entries.every((file) => isRight(file, variant));
    if (entries.length > 0) outcomes[areRight ? 'shown' : 'unreadable'].push(variant.name);
    else outcomes[isPulled ? 'unpacked' : 'refused'].push(variant.name);
    // Of a pull that fails, containerd removes what it had begun to unpack a little later.
    const unpacked = isPulled ? layerFiles(test).filter((file) => !before.includes(file)) : [];
    for (const file of unpacked) assert.ok(isRight(file, variant), `${variant.name}: ${file}`);
    if (isPulled) daemon.ctr(ns(test, 'golden'), 'images', 'remove', '--sync', image);
    for (const name of shownImages(test).filter((shown) => shown.includes('/golden/')))
      lazy(test, 'rm', name);
    assert.deepEqual(goldenEntries(test, variant), [], `${variant.name} is shown after it was removed`);
    const stores = join(server.content, 'lazy');
    // Else the next has what was right of it.
    for (const store of readdirSync(stores)) rmSync(join(stores, store), { recursive: true });
  }
  const others = goldenVariants()
    .filter(({ isOther }) => isOther)
    .map(({ name }) => name);
  assert.deepEqual(
    others.filter((name) => !outcomes.refused.includes(name)),
    [],
  );
  daemon.ctr(ns(test, 'golden'), 'version');
  console.log(`ok: hostile layers: ${JSON.stringify(outcomes)}`);
}

/** False when a layer can't be read to its end. It fails at a byte that is not the image's; a tree may follow. */
function isRight(file, { name, image }) {
  let bytes;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    assert.match(error.message, /EIO/, name);
    return false;
  }
  assert.ok(bytes.subarray(0, image.length).equals(image), `${name}: wrong bytes in ${file}`);
  return true;
}

const goldenEntries = (test, { diffId }) =>
  entriesOf(test).filter((name) => name.endsWith(`${diffId.slice('sha256:'.length)}.erofs`));

function succeeds(act) {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

/** A layer can't be taken out of the cache while a container runs from it; afterwards it goes. */
function removed(test) {
  const { daemon, registry } = test;
  // The image before has the same layers, and would go on showing them.
  lazy(test, 'rm', `docker://${registry.host}/sample:hostile`);
  const image = convert(test, 'sleeping', 'unseen:sleeping');
  pull(test, 'removed', image);
  runOn(test, 'removed', image, 'sleeper');
  assert.equal(exec(test, 'removed', 'sleeper', 'read a < /data/kept; echo $a; sleep 1'), 'kept\n');
  assert.throws(() => lazy(test, 'rm', `docker://${registry.host}/sample:sleeping`), /is mounted/);
  removeContainer(test, 'removed', 'sleeper');
  daemon.ctr(ns(test, 'removed'), 'images', 'remove', '--sync', image);
  lazy(test, 'rm', `docker://${registry.host}/sample:sleeping`);
  assert.ok(!shownImages(test).some((name) => name.endsWith(':sleeping')));
  console.log('ok: an image leaves the cache once nothing runs from it');
}

/** When all images are gone, from containerd and from the cache, nothing of them is left. */
async function nothingLeft(test) {
  await removeAll(test);
  for (const image of shownImages(test)) lazy(test, 'rm', image);
  assert.deepEqual(entriesOf(test), []);
  const { images } = JSON.parse(readFileSync(join(test.server.content, 'images.json'), 'utf8'));
  assert.deepEqual(images, []);
  console.log('ok: nothing is left in the cache either');
}

/** Files that the cache shows. */
const entriesOf = ({ at }) =>
  readdirSync(at('cache'), { recursive: true }).filter((name) => name.includes('.erofs'));

/** Resolves when the server answers, and shows its cache. */
async function comesUp(test) {
  for (const deadline = Date.now() + START_TIME; Date.now() < deadline;) {
    try {
      lazy(test, 'ls');
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`serve did not come up\n${test.server.log}`);
}

const lazy = ({ server }, ...args) =>
  JSON.parse(cli('lazy', ...args, '--state', server.state, '--json', '--quiet'));
const shownImages = (test) =>
  lazy(test, 'ls')
    .map(({ reference }) => reference)
    .sort();

/** Beside metadata less than two hundredths of the image: of these layers the metadata is in one chunk each. */
function expectLittle(fetched, layers, when) {
  const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  assert.ok(
    bytes < size * 0.02 + layers.length * 256 * 1024,
    `${bytes} bytes of ${size} were fetched ${when}`,
  );
}

/** containerd has a layer sent whole when it does not find it in the cache. */
function expectNothingWhole(test, image, act) {
  const layers = layersOf(image).map(({ digest }) => digest);
  const whole = fetchedBy(test, act).filter(
    ({ path, status }) => status === 200 && layers.some((digest) => path.includes(digest)),
  );
  assert.deepEqual(whole, []);
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
}

function expectNoTars(fetched, image) {
  const [tar] = manifestOf(image).manifests;
  const repository = image.slice(0, image.lastIndexOf(':'));
  const { layers } = manifestOf(`${repository}@${tar.digest}`);
  assert.ok(layers.every(({ mediaType }) => mediaType.includes('tar')));
  for (const { digest } of layers) {
    const asked = fetched.filter(({ path }) => path.includes(digest));
    assert.deepEqual(asked, [], `layer ${digest} of the tars was fetched`);
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

await runScenario(fileURLToPath(import.meta.url), inside);
