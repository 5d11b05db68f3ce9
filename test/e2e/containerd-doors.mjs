// Stock containerd with our proxy snapshotter and our proxy differ: images are pulled lazily, run, removed, and are what containerd's own
// overlayfs snapshotter makes of their sources; images of tars are unpacked as usual; killed servers come back.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startContainerd } from './support/containerd-daemon.mjs';
import { runPod } from './support/cri-pod.mjs';
import { program, startServer } from './support/lazy-server.mjs';
import { startRegistry } from './support/registry.mjs';
import {
  EXPECTED_OUTPUT,
  MANY_OUTPUT,
  writeMoreImages,
  writeSharingImages,
} from './support/sample-image.mjs';
import { runScenario } from './support/scenario.mjs';
import { treeOf } from './support/tree.mjs';

const HOST = `linux/${{ x64: 'amd64' }[process.arch] ?? process.arch}`;
const EROFS = HOST.replace('/', '(+erofs)/');
const PAUSE = 'example.test/pause:1';
const SHARING = { count: 10, bytes: 96 * 2 ** 20 };
const SNAPSHOTTER = 'seekable';
const TIMEOUT = 5 * 60_000;

const configuration = ({ snapshotter, differ }) => `
[proxy_plugins.${SNAPSHOTTER}]
  type = 'snapshot'
  address = '${snapshotter}'
  platform = '${EROFS}'
  [proxy_plugins.${SNAPSHOTTER}.exports]
    enable_remote_snapshot_annotations = 'true'
[proxy_plugins.seekable-diff]
  type = 'diff'
  address = '${differ}'
  platform = '${EROFS}'

[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '${EROFS}'
  snapshotter = '${SNAPSHOTTER}'
  differ = 'walking'
  layer_types = ${JSON.stringify(LAYER_TYPES)}
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '${EROFS}'
  snapshotter = 'erofs'
  differ = 'seekable-diff'
  layer_types = ${JSON.stringify(LAYER_TYPES)}
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '${HOST}'
  snapshotter = 'overlayfs'
  differ = 'walking'
`;
const LAYER_TYPES = [
  'application/vnd.erofs',
  'application/vnd.erofs+zstd',
  'application/vnd.erofs.chunk-index.v1',
];

async function inside(directory, bin, groups, noCrictl) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSharingImages(at('sharing'), SHARING);
  execFileSync('tar', ['-C', at('sharing'), '-cf', at('sharing.tar'), '.']);
  writeMoreImages(at('more'));
  writeSharingImages(at('unseen'), { count: 0, bytes: 2 ** 20 });
  const sockets = { snapshotter: at('snapshotter.sock'), differ: at('differ.sock') };
  const registry = await startRegistry(directory);
  const server = await startServer(directory, sockets, ['--containerd-address', at('socket')]);
  const daemon = await startContainerd({
    bin,
    directory,
    pause: PAUSE,
    extra: configuration(sockets),
    snapshotter: SNAPSHOTTER,
    differs: ['seekable-diff', 'erofs', 'walking'],
  });
  const test = { daemon, server, registry, groups, at, noCrictl };
  importPause(test);
  const wanted = process.env.SCENARIOS?.split(',');
  try {
    for (const [name, run] of Object.entries(scenarios)) {
      if (wanted === undefined || wanted.includes(name)) await run(test);
    }
  } catch (error) {
    console.error(daemon.complaints, server.log);
    throw error;
  } finally {
    registry.stop();
    await daemon.stop();
    await server.stop();
  }
}

const scenarios = {
  pullLazily,
  sameTree,
  byCri,
  tars,
  bothForms,
  sharedLayers,
  twoContainers,
  manyLayers,
  mixedNode,
  differ,
  hostile,
  killed,
  nothingLeft,
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
    const size = layersOf(test, name).reduce((sum, layer) => sum + layer.size, 0);
    assert.ok(bytes < size * 0.02, `${name}: ${bytes} bytes of ${size} were fetched at the pull`);
    assert.equal(run(test, 'lazy', image), EXPECTED_OUTPUT, name);
    expectSnapshots(test, 'lazy');
    console.log(`ok: an image is pulled lazily, and run (${name})`);
  }
}

/** The tree is the one that containerd's overlayfs snapshotter makes of the source image. */
function sameTree(test) {
  const { daemon, at } = test;
  const image = convert(test, 'tree', 'sharing:three');
  pull(test, 'tree', image);
  const source = importSource(test, 'source', 'three');
  const [ours, theirs] = [
    treeOfImage(daemon, ns(test, 'tree'), SNAPSHOTTER, image, at('ours')),
    treeOfImage(daemon, ns(test, 'source'), 'overlayfs', source, at('theirs')),
  ];
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
  const [base] = layersOf(test, 'cri');
  const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
  assert.ok(bytes < base.size * 0.02, `${bytes} bytes of ${base.size} were fetched at the pull by CRI`);
  const printed = await runPod(daemon, { image, directory: at('pod'), cgroup: `/${groups}-cri` });
  assert.equal(printed, EXPECTED_OUTPUT);
  daemon.crictl('rmi', image);
  console.log('ok: a pod of a lazy image, by CRI');
}

/** Layers that are tars are unpacked by containerd, as overlayfs would have them. */
function tars(test) {
  const { daemon, at } = test;
  const image = push(test, 'tars', 'three');
  pull(test, 'tars', image);
  assert.equal(run(test, 'tars', image), EXPECTED_OUTPUT);
  const source = importSource(test, 'source', 'three');
  const ours = treeOfImage(daemon, ns(test, 'tars'), SNAPSHOTTER, image, at('tars'));
  assert.equal(ours, treeOfImage(daemon, ns(test, 'source'), 'overlayfs', source, at('theirs')));
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
  const source = importSource(test, 'source', 'three');
  const ours = treeOfImage(daemon, ns(test, 'both'), SNAPSHOTTER, image, at('both'));
  assert.equal(ours, treeOfImage(daemon, ns(test, 'source'), 'overlayfs', source, at('theirs')));
  console.log('ok: an index of tars and EROFS starts from EROFS by its plain tag');
}

function layersOfLayout(folder, name) {
  const { manifests } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'));
  const read = (digest) => JSON.parse(readFileSync(join(folder, 'blobs', digest.replace(':', '/')), 'utf8'));
  const { digest } = manifests.find(
    ({ annotations }) => annotations['org.opencontainers.image.ref.name'] === name,
  );
  return read(digest).layers.map((layer) => layer.digest);
}

/** Ten images at once that share their layers: each layer is mounted once. */
async function sharedLayers(test) {
  const { daemon } = test;
  const images = Array.from({ length: SHARING.count }, (_, i) => convert(test, `shared${i}`, `sharing:${i}`));
  const pulls = images.map((image) => daemon.begin(ns(test, 'shared'), ...pulling(image)));
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

/** Containers of one image write to folders of their own, and can be entered. */
function twoContainers(test) {
  const { daemon } = test;
  const image = convert(test, 'sleeping', 'sharing:sleeping');
  pull(test, 'two', image);
  for (const name of ['one', 'other'])
    daemon.ctr(ns(test, 'two'), 'run', '--detach', '--snapshotter', SNAPSHOTTER, image, name);
  const enter = (name, script) =>
    daemon.ctr(
      ns(test, 'two'),
      'tasks',
      'exec',
      '--exec-id',
      `e${Date.now()}`,
      name,
      '/bin/sh',
      '-c',
      script,
    );
  enter('one', 'echo mine > /data/kept');
  assert.equal(enter('one', 'read a < /data/kept; echo $a; sleep 1'), 'mine\n');
  assert.equal(enter('other', 'read a < /data/kept; echo $a; sleep 1'), 'kept\n');
  for (const name of ['one', 'other']) removeContainer(test, 'two', name);
  console.log('ok: two containers of one image');
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
  const { daemon } = test;
  const image = convert(test, 'mixed', 'sharing:three');
  const source = push(test, 'mixed-tars', 'three');
  for (const [snapshotter, name] of [
    [SNAPSHOTTER, image],
    ['erofs', image],
    ['overlayfs', source],
  ]) {
    pull(test, `mixed-${snapshotter}`, name, snapshotter);
    const flags = ['run', '--rm', '--snapshotter', snapshotter, name, 'sample'];
    assert.equal(daemon.ctr(ns(test, `mixed-${snapshotter}`), ...flags), EXPECTED_OUTPUT);
  }
  console.log('ok: erofs, overlayfs and the proxy snapshotter side by side');
}

/** containerd's own erofs snapshotter, its layers unpacked and checked by us. */
function differ(test) {
  const { daemon, server } = test;
  for (const [name, ...flags] of [
    ['plain'],
    ['verity', '--dm-verity'],
    ['spec', '--profile', 'erofs-image-spec'],
  ]) {
    const before = new Set(layerFiles(daemon));
    const image = convert(test, `differ-${name}`, 'sharing:three', ...flags);
    pull(test, `differ-${name}`, image, 'erofs');
    const files = layerFiles(daemon).filter((file) => !before.has(file));
    assert.equal(files.length, 3, server.log);
    assert.equal(files.filter((file) => existsSync(`${file}.dmverity`)).length, name === 'verity' ? 3 : 0);
    if (name === 'verity') continue; // containerd needs the kernel's dm-verity then
    const flagsOfRun = ['run', '--rm', '--snapshotter', 'erofs', image, 'sample'];
    assert.equal(daemon.ctr(ns(test, `differ-${name}`), ...flagsOfRun), EXPECTED_OUTPUT);
  }
  assert.match(server.log, /containerd: apply /);
  console.log('ok: the differ unpacks layers of both profiles, with their trees');
}

/** What a registry gives that is not what the manifest says: the pull fails, and nothing of it is there. */
function hostile(test) {
  const { daemon, registry, server } = test;
  for (const [name, snapshotter] of [
    ['lazy', SNAPSHOTTER],
    ['whole', 'erofs'],
  ]) {
    const image = convert(test, `hostile-${name}`, 'unseen:three');
    const [layer] = layersOf(test, `hostile-${name}`);
    const offset = Number(layer.annotations['dev.containerd.erofs.zstd.chunk_table_offset']) + 16;
    const restore = registry.damage(layer.digest, offset);
    const before = [readdirSync(server.layers).length, layerFiles(daemon).length];
    assert.throws(() => pull(test, `hostile-${name}`, image, snapshotter), /digest|corrupt|mismatch/i);
    restore();
    const after = [readdirSync(server.layers).length, layerFiles(daemon).length];
    assert.deepEqual(after, before);
    // containerd itself may go on with what it kept of a blob that was wrong.
    if (snapshotter === SNAPSHOTTER) pull(test, `hostile-${name}`, image, snapshotter);
  }
  console.log('ok: layers that are not what they should be are refused');
}

/** Servers and containerd are killed at random while images are pulled and read. */
async function killed(test) {
  const { daemon, server } = test;
  const rounds = Number(process.env.KILLS ?? 3);
  const image = convert(test, 'killed', 'sharing:sleeping', '--chunk-size', '64KiB');
  pull(test, 'killed', image);
  daemon.ctr(ns(test, 'killed'), 'run', '--detach', '--snapshotter', SNAPSHOTTER, image, 'reader');
  const kills = [
    () => server.killPart('door-main'),
    () => server.killPart('server-main'),
    () => restartServer(server),
    () => killContainerd(daemon),
    () => killBoth(test),
  ];
  for (let round = 0; round < rounds; round++) {
    const other = convert(test, `kill${round}`, `sharing:${round % SHARING.count}`, '--chunk-size', '128KiB');
    const underWay = daemon.begin(ns(test, 'killed'), ...pulling(other)).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 400));
    await kills[round % kills.length]();
    await underWay;
    await server.comesUp();
    await pullAfterKill(test, other);
    assert.equal(run(test, 'killed', other), EXPECTED_OUTPUT, `round ${round}`);
    const read = [
      'tasks',
      'exec',
      '--exec-id',
      `e${round}`,
      'reader',
      '/bin/sh',
      '-c',
      `sha256sum /data/big; sleep 1`,
    ];
    assert.match(
      EXPECTED_OUTPUT,
      new RegExp(daemon.ctr(ns(test, 'killed'), ...read).trim()),
      `round ${round}`,
    );
  }
  removeContainer(test, 'killed', 'reader');
  console.log(`ok: ${rounds} kills of servers and containerd`);
}

/** As systemd restarts it. */
async function restartServer(server) {
  await server.kill();
  await server.start();
}

async function killContainerd(daemon) {
  await daemon.kill();
  await daemon.start();
}

async function killBoth({ daemon, server }) {
  server.killPart('door-main');
  server.killPart('server-main');
  await killContainerd(daemon);
}

/** When all images are gone, so is all that they had. */
async function nothingLeft(test) {
  const { daemon, server } = test;
  const namespaces = daemon.ctr('default', 'namespaces', 'list', '--quiet').trim().split('\n');
  for (const namespace of namespaces) {
    const images = daemon.ctr(namespace, 'images', 'list', '--quiet').trim().split('\n').filter(Boolean);
    if (images.length > 0) daemon.ctr(namespace, 'images', 'remove', '--sync', ...images);
    // Of pulls that were under way when containerd was killed: it would keep what they had for a day.
    const leases = daemon.ctr(namespace, 'leases', 'list', '--quiet').trim().split('\n').filter(Boolean);
    if (leases.length > 0) daemon.ctr(namespace, 'leases', 'delete', '--sync', ...leases);
    daemon.ctr(namespace, 'content', 'prune', 'references');
  }
  for (let attempt = 0; attempt < 50 && readdirSync(server.layers).length > 0; attempt++)
    await new Promise((resolve) => setTimeout(resolve, 200));
  const left = namespaces.flatMap((namespace) => listed(test, namespace, namespace));
  assert.deepEqual(readdirSync(server.layers), [], left.join(' '));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(server.state));
  assert.equal(mounts.filter((line) => !line.includes('/lazy/layers')).join('\n'), '');
  console.log('ok: nothing is left of images that were removed');
}

const ns = ({ groups }, name) => `${groups}-${name}`;

function importPause(test) {
  const { daemon, registry } = test;
  const image = convert(test, 'pause', 'more:pause');
  daemon.ctr('k8s.io', 'images', 'pull', '--snapshotter', SNAPSHOTTER, '--plain-http', image);
  daemon.ctr('k8s.io', 'images', 'tag', `${registry.host}/sample:pause`, PAUSE);
}

/** Converts a source image, and gives its name in the registry. */
function convert({ registry, at }, name, source, ...flags) {
  const [folder, reference] = source.split(':');
  const image = `${registry.host}/sample:${name}`;
  const size = flags.includes('--chunk-size') ? [] : ['--chunk-size', '256KiB'];
  const args = [
    'convert',
    `oci:${at(folder)}:${reference}`,
    `docker://${image}`,
    '--quiet',
    ...size,
    ...flags,
  ];
  execFileSync(process.execPath, [program(), ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: TIMEOUT,
  });
  return image;
}

/** Puts a source image into the registry as it is. */
function push({ registry, at }, name, reference) {
  const image = `${registry.host}/sample:${name}`;
  const flags = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy'];
  execFileSync('skopeo', [...flags, `oci:${at('sharing')}:${reference}`, `docker://${image}`], {
    stdio: 'inherit',
  });
  return image;
}

function importSource({ daemon, groups, at }, namespace, reference) {
  const flags = ['--snapshotter', 'overlayfs', '--base-name', 'example.test/source'];
  daemon.ctr(`${groups}-${namespace}`, 'images', 'import', ...flags, at('sharing.tar'));
  return `example.test/source:${reference}`;
}

function treeOfImage(daemon, namespace, snapshotter, image, target) {
  mkdirSync(target, { recursive: true });
  daemon.ctr(namespace, 'images', 'mount', '--rw', '--snapshotter', snapshotter, image, target);
  try {
    return treeOf(target);
  } finally {
    daemon.ctr(namespace, 'images', 'unmount', '--rm', '--snapshotter', snapshotter, target);
  }
}

const pulling = (image, snapshotter = SNAPSHOTTER) => [
  'images',
  'pull',
  '--snapshotter',
  snapshotter,
  '--plain-http',
  image,
];

function pull(test, namespace, image, snapshotter = SNAPSHOTTER) {
  test.daemon.ctr(ns(test, namespace), ...pulling(image, snapshotter));
}

/** containerd waits before it connects again where it was refused. */
async function pullAfterKill(test, image) {
  for (const deadline = Date.now() + 20_000; ;) {
    try {
      pull(test, 'killed', image);
      return;
    } catch (error) {
      if (Date.now() > deadline || !/connection (error|refused)|Unavailable/i.test(error.message))
        throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

let containers = 0;

function run(test, namespace, image, ...command) {
  const flags = ['run', '--rm', '--snapshotter', SNAPSHOTTER, image, `c${containers++}`, ...command];
  return test.daemon.ctr(ns(test, namespace), ...flags);
}

function removeContainer(test, namespace, name) {
  test.daemon.ctr(ns(test, namespace), 'tasks', 'delete', '--force', name);
  test.daemon.ctr(ns(test, namespace), 'containers', 'delete', name);
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

const layerFiles = (daemon) =>
  readdirSync(daemon.snapshots)
    .map((id) => join(daemon.snapshots, id, 'layer.erofs'))
    .filter((file) => existsSync(file));

function fetchedBy({ registry }, act) {
  const before = registry.sent().length;
  act();
  return registry.sent().slice(before);
}

function layersOf({ registry }, tag) {
  const args = ['inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/sample:${tag}`];
  return JSON.parse(execFileSync('skopeo', args, { encoding: 'utf8' })).layers;
}

await runScenario(fileURLToPath(import.meta.url), inside);
