// Stock containerd without any plugin of ours: its layer content cache is `serve --erofs-cache`, and `serve --registry` is its mirror. Images are
// pulled lazily, by ctr and by CRI, those of tars too where their EROFS form is in the same index; they are what containerd's own overlayfs
// snapshotter makes of their sources; killed servers come back.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  comesUp,
  expectLittle,
  expectNothingWhole,
  lazy,
  nothingLeft,
  runCacheScenario,
  shownImages,
} from './support/cache-node.mjs';
import { EROFS } from './support/containerd-daemon.mjs';
import { runPod } from './support/cri-pod.mjs';
import { killAtRandom } from './support/kills.mjs';
import {
  convert,
  exec,
  fetchedBy,
  layerFiles,
  layersOf,
  manifestOf,
  ns,
  pull,
  pulling,
  removeContainer,
  run,
  runOn,
  sourceTree,
  treeOfImage,
} from './support/node.mjs';
import { EXPECTED_OUTPUT } from './support/sample-image.mjs';

const scenarios = {
  pullLazily,
  sameTree,
  specProfile,
  byCri,
  bothForms,
  bothFormsByCri,
  hostile,
  hostilePair,
  mirrorAlone,
  removed,
  killed: (test) => killAtRandom(test, () => comesUp(test)),
  nothingLeft,
};

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
async function hostile(test) {
  const { registry } = test;
  const image = convert(test, 'hostile', 'unseen:three');
  const [layer] = layersOf(image);
  const restore = damageTable(registry, layer);
  const before = shownImages(test);
  expectNothingWhole(test, image, () =>
    assert.throws(
      () => pull(test, 'hostile', image),
      /failed to resolve image.* 300 .*chunk table: digest is/s,
    ),
  );
  assert.deepEqual(shownImages(test), before);
  restore();
  await onceForgotten(() => expectNothingWhole(test, image, () => pull(test, 'hostile', image)));
  assert.equal(run(test, 'hostile', image), EXPECTED_OUTPUT);
  for (const namespace of ['hostile', 'hostile-anew']) {
    lazy(test, 'rm', `docker://${image}`);
    expectNothingWhole(test, image, () => pull(test, namespace, image));
    assert.equal(run(test, namespace, image), EXPECTED_OUTPUT, `${namespace}, removed from the cache before`);
  }
  console.log('ok: a layer whose table is not what the manifest says is neither shown nor pulled');
}

/** containerd's file of hosts names the mirror as the registry, and no other. */
function mirrorAlone(test) {
  const { at, registry } = test;
  const file = join(at('certs'), registry.host, 'hosts.toml');
  const before = readFileSync(file, 'utf8');
  const [, mirror] = /\[host\.'(.*)'\]/.exec(before);
  writeFileSync(file, `server = '${mirror}'\ncapabilities = ['pull', 'resolve']\n`);
  const image = convert(test, 'alone', 'sharing:6');
  expectNothingWhole(test, image, () => pull(test, 'alone', image));
  writeFileSync(file, `server = '${mirror.replace(/\d+$/, '1')}'\ncapabilities = ['pull', 'resolve']\n`);
  assert.throws(
    () => pull(test, 'alone-down', convert(test, 'alone-down', 'sharing:7')),
    /connection refused/,
  );
  writeFileSync(file, before);
  console.log('ok: nothing is pulled past a mirror that is the only host');
}

/** The same of an EROFS image beside tars, which `ctr` asks for by its digest, with the tars or alone. */
async function hostilePair(test) {
  const { daemon, registry } = test;
  const image = convert(test, 'hostile-pair', 'sharing:5', '--append-to-index');
  const erofs = manifestOf(image).manifests.find(({ platform }) => platform['os.features'] !== undefined);
  const converted = `${image.slice(0, image.lastIndexOf(':'))}@${erofs.digest}`;
  const restore = damageTable(registry, layersOf(converted).at(-1));
  const pullIt = (...flags) =>
    daemon.ctr(ns(test, 'hostile-pair'), ...pulling(test, image).toSpliced(2, 0, ...flags));
  for (const flags of [[], ['--platform', EROFS]])
    expectNothingWhole(test, converted, () => assert.throws(() => pullIt(...flags)));
  restore();
  await onceForgotten(() => pullIt());
  const own = run(test, 'hostile-pair', image, '/bin/sh', '-c', 'read own < /own; echo $own; sleep 1');
  assert.equal(own, '5\n');
  console.log('ok: of an index with a wrong EROFS image neither is pulled');
}

function damageTable(registry, { digest, annotations }) {
  return registry.damage(digest, Number(annotations['dev.containerd.erofs.zstd.chunk_table_offset']) + 16);
}

/** The mirror refuses an image for a while before it looks at it again. */
async function onceForgotten(act) {
  for (const deadline = Date.now() + 30_000; ;) {
    try {
      return act();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
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

await runCacheScenario(fileURLToPath(import.meta.url), scenarios);
