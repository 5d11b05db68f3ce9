// Stock containerd with our cache and mirror, and images of every kind: both profiles, many layers, many images, tars beside them, hostile ones;
// and a node that was restarted.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  comesUp,
  entriesOf,
  expectLittle,
  expectNothingWhole,
  lazy,
  nothingLeft,
  runCacheScenario,
  shownImages,
} from './support/cache-node.mjs';
import { pushVector } from './support/composite-images.mjs';
import { realMkfs } from './support/containerd-daemon.mjs';
import { goldenVariants, pushVariant } from './support/golden-images.mjs';
import {
  convert,
  exec,
  fetchedBy,
  layerFiles,
  layersOf,
  ns,
  pull,
  pulling,
  push,
  removeContainer,
  run,
  runBy,
  runOn,
  sourceTree,
  treeOfImage,
  twoContainers,
} from './support/node.mjs';
import { EXPECTED_OUTPUT, MANY_OUTPUT } from './support/sample-image.mjs';

const scenarios = {
  specProfile,
  composites,
  manyLayers,
  sharedLayers,
  twoContainers,
  golden,
  rebooted,
  mixedNode,
  nothingLeft,
};

/** Profile erofs-image-spec, its indexes in the blobs or in layers of their own. */
function specProfile(test) {
  for (const [name, ...flags] of [['embedded'], ['standalone', '--index', 'standalone']]) {
    const spec = ['--profile', 'erofs-image-spec', ...flags];
    const image = convert(test, name, 'sharing:three', ...spec);
    const fetched = fetchedBy(test, () => expectNothingWhole(test, image, () => pull(test, name, image)));
    expectLittle(fetched, layersOf(image), `at the pull of ${name}`);
    assert.equal(run(test, name, image), EXPECTED_OUTPUT, name);
    console.log(`ok: an image of profile erofs-image-spec is pulled lazily, and run (${name})`);
  }
}

/**
 * containerd's erofs snapshotter has neither devices nor data-only layers, so the cache takes no image with some. It is left to containerd, which goes
 * on as if there were no cache.
 */
function composites(test) {
  const outcomes = { refused: [], pulled: [] };
  const names = ['device-tar', 'device-zstd-index', 'device-erofs-zstd', 'data', 'data-index', 'no-rootfs'];
  const known = shownImages(test);
  for (const name of names) {
    const image = pushVector(test, name);
    if (name !== 'no-rootfs')
      assert.throws(() => lazy(test, 'add', `docker://${image}`), /it has the role (device|overlay-data)/);
    const isPulled = succeeds(() => pull(test, 'composites', image));
    outcomes[isPulled ? 'pulled' : 'refused'].push(name);
    if (isPulled) test.daemon.ctr(ns(test, 'composites'), 'images', 'remove', '--sync', image);
    const own = shownImages(test).filter((shown) => !known.includes(shown));
    if (name === 'no-rootfs') for (const shown of own) lazy(test, 'rm', shown);
    else assert.deepEqual(own, [], name);
  }
  // containerd wants DiffIDs in the config, and knows no roles.
  assert.ok(outcomes.refused.includes('no-rootfs'));
  const image = convert(test, 'after', 'unseen:three', '--profile', 'erofs-image-spec');
  pull(test, 'composites', image);
  assert.equal(run(test, 'composites', image), EXPECTED_OUTPUT);
  console.log(`ok: images of devices and data-only layers are not shown: ${JSON.stringify(outcomes)}`);
}

/** As many layers as Docker takes: their folders fit the options of a mount. */
function manyLayers(test) {
  const image = convert(test, 'many', 'more:many');
  expectNothingWhole(test, image, () => pull(test, 'many', image));
  assert.equal(run(test, 'many', image), MANY_OUTPUT);
  console.log('ok: an image of 127 layers');
}

/** Ten images at once that share their layers. */
async function sharedLayers(test) {
  const images = Array.from({ length: 10 }, (_, i) => convert(test, `shared${i}`, `sharing:${i}`));
  const begin = (image) => test.daemon.begin(ns(test, 'shared'), ...pulling(test, image));
  await Promise.all(images.map(begin));
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
  for (const [i, image] of images.entries()) {
    const own = run(test, 'shared', image, '/bin/sh', '-c', 'read own < /own; echo $own; sleep 1');
    assert.equal(own, `${i}\n`);
  }
  const names = new Set(images.flatMap((image) => layersOf(image).map(({ digest }) => digest)));
  const shown = lazy(test, 'ls').filter(({ reference }) => reference.includes('/sample:shared'));
  const diffIds = new Set(shown.flatMap(({ layers }) => layers.map(({ diffId }) => diffId)));
  assert.deepEqual([shown.length, diffIds.size], [10, names.size]);
  console.log('ok: ten images with shared layers at once');
}

/**
 * Hostile blobs of every kind. The mirror refuses them with their manifests, before containerd, which compares nothing but the DiffID of what it
 * unpacks, has them. Neither shows nor stores a byte that is not the image's.
 */
async function golden(test) {
  const { daemon, registry, server } = test;
  const outcomes = { refused: [], unpacked: [], shown: [], unreadable: [] };
  const stores = join(server.content, 'lazy');
  const known = readdirSync(stores);
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
    // Else the next has what was right of it.
    for (const store of readdirSync(stores))
      if (!known.includes(store)) rmSync(join(stores, store), { recursive: true });
  }
  const others = goldenVariants()
    .filter(({ isOther }) => isOther)
    .map(({ name }) => name);
  assert.deepEqual(
    others.filter((name) => !outcomes.refused.includes(name)),
    [],
  );
  // Of one frame without a checksum the others and the DiffID vouch; of one without a table's digest the DiffID, which containerd compares.
  assert.deepEqual(outcomes.unpacked, ['table_digest_missing']);
  assert.deepEqual(outcomes.shown, ['hash_alg_none']);
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

/** Mounts and processes are gone, as after a restart of the machine: containers start again from what is there, and nothing is pulled. */
async function rebooted(test) {
  const { daemon, server, at } = test;
  const image = convert(test, 'rebooted', 'sharing:sleeping', '--chunk-size', '128KiB');
  pull(test, 'rebooted', image);
  runOn(test, 'rebooted', image, 'left');
  exec(test, 'rebooted', 'left', 'echo written > /data/kept');
  await server.kill({ all: true });
  await daemon.kill();
  killProcesses(['containerd-shim', '/bin/sh']);
  unmountAll(at(''));
  execFileSync('umount', ['--lazy', '/run']);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  rmSync(at('state'), { recursive: true });
  for (const name of readdirSync(server.state))
    if (name !== 'content') rmSync(join(server.state, name), { recursive: true });
  assert.deepEqual(entriesOf(test), []);
  await server.start();
  await comesUp(test);
  await daemon.start();
  expectNothingWhole(test, image, () => {
    daemon.ctr(ns(test, 'rebooted'), 'tasks', 'start', '--detach', 'left');
    const printed = exec(
      test,
      'rebooted',
      'left',
      'read a < /data/kept; echo $a; sha256sum /data/big; sleep 1',
    );
    const [kept, sum] = printed.split('\n');
    assert.ok(kept === 'written' && EXPECTED_OUTPUT.includes(sum), printed);
    assert.equal(
      run(test, 'rebooted', image, '/bin/sh', '-c', 'read a < /data/kept; echo $a; sleep 1'),
      'kept\n',
    );
  });
  removeContainer(test, 'rebooted', 'left');
  console.log('ok: after a restart of the machine containers start from what is there');
}

/** In the namespace of the scenario. */
function killProcesses(parts) {
  for (const pid of readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (parts.some((part) => line.includes(part))) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

function unmountAll(folder) {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const targets = lines.map((line) => line.split(' ')[4] ?? '').filter((target) => target.startsWith(folder));
  for (const target of targets.reverse()) execFileSync('umount', ['--lazy', target]);
}

/** Images of tars beside lazy ones: overlayfs has them as ever, and so has the erofs snapshotter, by mkfs.erofs. */
function mixedNode(test) {
  const image = convert(test, 'mixed', 'sharing:three');
  const source = push(test, 'mixed-tars', 'three');
  pull(test, 'mixed', image);
  assert.equal(run(test, 'mixed', image), EXPECTED_OUTPUT);
  pull(test, 'mixed-overlayfs', source, 'overlayfs');
  assert.equal(runBy(test, 'overlayfs', 'mixed-overlayfs', source), EXPECTED_OUTPUT);
  console.log('ok: lazy images, and images of tars by overlayfs, side by side');
  if (realMkfs() === null) {
    console.log('SKIP: an image of tars in the erofs snapshotter: needs a mkfs.erofs that takes tars');
    return;
  }
  pull(test, 'mixed-tars', source);
  assert.equal(run(test, 'mixed-tars', source), EXPECTED_OUTPUT);
  assert.equal(treeOfImage(test, 'mixed-tars', source), sourceTree(test));
  console.log('ok: an image of tars that has no EROFS form is unpacked as without us');
}

await runCacheScenario(fileURLToPath(import.meta.url), scenarios);
