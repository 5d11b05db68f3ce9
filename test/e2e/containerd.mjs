// Stock containerd runs what we convert: plain blobs, and blobs with a dm-verity tree, from archives and from a registry, one platform out of
// an index and whole indexes, through ctr and through CRI, and as many layers as an image may have; and it takes the layers of an image of
// tars from a layer content cache that we filled.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { realMkfs, startContainerd } from './support/containerd-daemon.mjs';
import { runPod } from './support/cri-pod.mjs';
import { startRegistry } from './support/registry.mjs';
import { runScenario } from './support/scenario.mjs';
import { EXPECTED_OUTPUT, MANY_OUTPUT, writeMoreImages, writeSampleImage } from './support/sample-image.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const IMAGE = 'example.test/sample:1';
const PAUSE = 'example.test/pause:1';
const SCENARIO_TIMEOUT = 5 * 60_000;
const HOST = `linux/${{ x64: 'amd64' }[process.arch] ?? process.arch}`;

function seekable(...args) {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const cli = process.env.SEEKABLE_EROFS_CLI ?? join(ROOT, bin['seekable-erofs']);
  return execFileSync(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: SCENARIO_TIMEOUT,
    maxBuffer: 2 ** 26,
    encoding: 'utf8',
  });
}

/** Converts an image, and gives the DiffIDs of its layers for this machine. */
function convert(...args) {
  const { manifests } = JSON.parse(seekable('convert', ...args, '--quiet', '--json'));
  return manifests.find(({ platform }) => platform === HOST).layers.map(({ diffId }) => diffId);
}

async function inside(directory, bin, groups, noCrictl) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSampleImage(at('source'), IMAGE);
  writeMoreImages(at('more'));
  const daemon = await startContainerd({ bin, directory, pause: PAUSE });
  const registry = await startRegistry(directory);
  const test = {
    daemon,
    groups,
    registry,
    at,
    sample: `oci:${at('source')}:${IMAGE}`,
    more: `oci:${at('more')}`,
  };
  try {
    runArchives(test);
    runPulled(test);
    if (noCrictl === '') await runByCri(test);
    else console.log(`SKIP: CRI: ${noCrictl}`);
    runCached(test);
    assert.equal(daemon.mkfsCalls, '', 'containerd converted nothing itself');
    runAppended(test);
    runDevices(test);
  } catch (error) {
    console.error(daemon.complaints);
    throw error;
  } finally {
    registry.stop();
    await daemon.stop();
  }
}

/** Imported by containerd's transfer service, and by ctr through the diff service (`--local`). */
function runArchives(test) {
  const { at, sample, more } = test;
  const importFlags = ['import', '--snapshotter', 'erofs'];
  const archive = (name, source, ...flags) => {
    const layers = convert(source, `oci-archive:${at(`${name}.tar`)}:${IMAGE}`, ...flags);
    return { name, layers, image: IMAGE, get: [...importFlags, at(`${name}.tar`)] };
  };
  runImage(test, archive('plain', sample));
  const verity = convert(sample, `oci:${at('verity')}:${IMAGE}`, '--dm-verity');
  execFileSync('tar', ['-C', at('verity'), '-cf', at('verity.tar'), '.']);
  const local = [...importFlags, '--local', at('verity.tar')];
  runImage(test, { name: 'verity', layers: verity, image: IMAGE, get: local });
  runImage(test, archive('index-one', `${more}:index`));
  runImage(test, archive('index-all', `${more}:index`, '--all-platforms'));
  runImage(test, { ...archive('127-layers', `${more}:many`), output: MANY_OUTPUT });
}

/** Pulled from a registry, without any flag. */
function runPulled(test) {
  runImage(test, pulled(test, 'pulled', test.sample, '--dm-verity'));
  const all = pulled(test, 'pulled-all', `${test.more}:index`, '--all-platforms');
  runImage(test, all);
  refusedByOverlayfs(test, all.image);
}

/** Pulled it is, but not unpacked, and so not run. */
function refusedByOverlayfs({ daemon, groups }, image) {
  const overlayfs = ['--snapshotter', 'overlayfs'];
  const namespace = `${groups}-overlayfs`;
  const attempt = () => {
    daemon.ctr(namespace, 'images', 'pull', ...overlayfs, '--plain-http', image);
    daemon.ctr(namespace, 'run', '--rm', ...overlayfs, image, 'sample');
  };
  assert.throws(attempt, /overlayfs does not support platform .*erofs/);
  console.log('ok: the overlayfs snapshotter refuses the sample image');
}

/**
 * Pulled out of an index that has the tars as well, by the flag that pull and run need for it. containerd takes the tars too, and has
 * mkfs.erofs unpack them.
 */
function runAppended(test) {
  if (realMkfs() === null) {
    console.log('SKIP: an appended index needs mkfs.erofs 1.8 or later');
    return;
  }
  const { name, get, ...image } = pulled(test, 'appended', `${test.more}:index`, '--append-to-index');
  const platform = ['--platform', HOST.replace('/', '(+erofs)/')];
  runImage(test, { ...image, name, get: [...get, ...platform], run: platform, withTars: true });
}

/** An index of the tars and of images that point into them: containerd runs the one by overlayfs, we run the other, and the registry has the data once. */
function runDevices({ daemon, groups, registry, at, sample }) {
  const image = `${registry.host}/devices:both`;
  const before = bytesUnder(at('registry'));
  const flags = ['--device-tar', '--profile', 'erofs-image-spec', '--append-to-index'];
  convert(sample, `docker://${image}`, ...flags);
  const grown = bytesUnder(at('registry')) - before;
  assert.ok(grown < 1.05 * bytesUnder(at('source')), `devices: the registry has grown by ${grown} bytes`);
  const namespace = `${groups}-devices`;
  const overlayfs = ['--snapshotter', 'overlayfs'];
  daemon.ctr(namespace, 'images', 'pull', ...overlayfs, '--plain-http', image);
  const printed = daemon.ctr(namespace, 'run', '--rm', ...overlayfs, image, 'sample');
  assert.equal(printed, EXPECTED_OUTPUT, 'devices: what the container of the tars sees');
  const ours = seekable('run', `docker://${image}`, '--state', at('state'), '--', '/bin/sh', '/check.sh');
  assert.equal(ours, EXPECTED_OUTPUT, 'devices: what the container of the EROFS image sees');
  const { ok } = JSON.parse(seekable('check', sample, `docker://${image}`, '--json'));
  assert.ok(ok, 'devices: both have the same tree');
  console.log('ok: containerd runs the tars by overlayfs, and we the EROFS image that points into them');
}

function bytesUnder(directory) {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  const sizes = files.map((file) => (file.isFile() ? statSync(join(file.parentPath, file.name)).size : 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function pulled({ registry }, name, source, ...flags) {
  const image = `${registry.host}/sample:${name}`;
  const layers = convert(source, `docker://${image}`, ...flags);
  return { name, layers, image, get: ['pull', '--snapshotter', 'erofs', '--plain-http', image] };
}

/** By the interface that Kubernetes uses, which has no flag for a platform. */
async function runByCri(test) {
  const { daemon, registry, groups, at, more } = test;
  const before = layerFiles(daemon); // its lowest layer is the sample's as well
  convert(`${more}:pause`, `oci-archive:${at('pause.tar')}:${PAUSE}`);
  daemon.ctr('k8s.io', 'images', 'import', '--snapshotter', 'erofs', at('pause.tar'));
  const image = `${registry.host}/sample:cri`;
  const layers = convert(`${more}:index`, `docker://${image}`, '--all-platforms');
  daemon.crictl('pull', image);
  const printed = await runPod(daemon, { image, directory: at('pod'), cgroup: `/${groups}-cri` });
  assert.equal(printed, EXPECTED_OUTPUT, 'cri: what the container sees');
  expectMounted(daemon, before, layers, 'cri');
  console.log('ok: containerd runs the sample image (cri)');
}

/** The source image: its tars are never unpacked, for the cache has an EROFS image for each. */
function runCached({ daemon, groups, sample, at }) {
  const namespace = `${groups}-cached`;
  const before = layerFiles(daemon);
  convert(sample, `erofs-cache:${daemon.cache}`);
  const archive = at('source.tar');
  execFileSync('tar', ['-C', at('source'), '-cf', archive, '.']);
  daemon.ctr(namespace, 'images', 'import', '--snapshotter', 'erofs', archive);
  const printed = daemon.ctr(namespace, 'run', '--rm', '--snapshotter', 'erofs', IMAGE, 'sample');
  assert.equal(printed, EXPECTED_OUTPUT, 'cached: what the container sees');
  assert.deepEqual(layerFiles(daemon), before, 'cached: no layer was unpacked');
  console.log('ok: containerd runs the sample image (cached)');
}

/** Gets an image by `ctr images` and runs it. A namespace of its own keeps scenarios with equal DiffIDs from sharing snapshots. */
function runImage({ daemon, groups }, { name, image, layers, get, ...more }) {
  const { run = [], output = EXPECTED_OUTPUT, withTars = false } = more;
  const namespace = `${groups}-${name}`;
  const before = layerFiles(daemon);
  daemon.ctr(namespace, 'images', ...get);
  const printed = daemon.ctr(namespace, 'run', '--rm', '--snapshotter', 'erofs', ...run, image, 'sample');
  assert.equal(printed, output, `${name}: what the container sees`);
  expectMounted(daemon, before, layers, name, withTars);
  console.log(`ok: containerd runs the sample image (${name})`);
}

function expectMounted(daemon, before, layers, name, withTars = false) {
  const known = new Set(before);
  const files = layerFiles(daemon).filter((file) => !known.has(file));
  const mounted = withTars ? files.filter((file) => layers.includes(sha256File(file))) : files;
  assert.deepEqual(
    mounted.map(sha256File).sort(),
    layers.sort(),
    `${name}: containerd mounts the images that we made`,
  );
}

function layerFiles(daemon) {
  return readdirSync(daemon.snapshots)
    .map((id) => join(daemon.snapshots, id, 'layer.erofs'))
    .filter((file) => existsSync(file));
}

const sha256File = (file) => `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`;

await runScenario(fileURLToPath(import.meta.url), inside);
