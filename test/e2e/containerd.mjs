// Stock containerd runs what we convert: plain blobs, and blobs with a dm-verity tree, from archives and from a registry; and it takes
// the layers of an image of tars from a layer content cache that we filled.
// Prints SKIP and succeeds where the machine can't run containers. $CONTAINERD_BIN: a directory with containerd's programs.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installContainerd, missingForContainerd, startContainerd } from './support/containerd-daemon.mjs';
import { startRegistry } from './support/registry.mjs';
import { EXPECTED_OUTPUT, writeSampleImage } from './support/sample-image.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const IMAGE = 'example.test/sample:1';
const NAMESPACE = 'seekable-e2e';
const SCENARIO_TIMEOUT = 5 * 60_000;

// Who unpacks: containerd's transfer service, or ctr through the diff service.
const VARIANTS = [
  { name: 'plain', importFlags: [] },
  { name: 'verity', importFlags: ['--local'] },
];
/** Pulled instead of imported. */
const PULLED = 'pulled';
/** Imported as it was, with its layers in the cache. */
const CACHED = 'cached';

/** What stands between this machine and the test, null if nothing does. */
function missing() {
  if (process.platform !== 'linux' || process.getuid() !== 0) return 'needs root on Linux';
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  const absent = ['erofs', 'overlay'].filter((name) => !filesystems.includes(`\t${name}\n`));
  if (absent.length > 0) return `the kernel has no ${absent.join(' and no ')} (modprobe?)`;
  for (const program of ['runc', 'unshare', 'ldd', 'docker-registry']) {
    if (spawnSync(program, ['--help']).error) return `needs ${program}`;
  }
  // In a chroot, for one, this fails: its root is no mount.
  const probe = ['--mount', '--pid', '--fork', '--mount-proc', 'true'];
  const { status, stderr } = spawnSync('unshare', probe, { encoding: 'utf8' });
  if (status !== 0) return `no namespaces can be made here: ${stderr.trim()}`;
  return missingForContainerd();
}

/**
 * Converts the sample image in all ways and hands the results to a second copy of this script, `inside`, in mount and
 * process namespaces of its own. However that ends, the kernel takes its mounts, containers and daemons down with it.
 */
async function outside() {
  const bin = installContainerd();
  const directory = mkdtempSync(join(tmpdir(), 'se-ctd-'));
  try {
    writeSampleImage(join(directory, 'source'), IMAGE);
    const source = `oci:${join(directory, 'source')}:${IMAGE}`;
    convert(source, `oci-archive:${join(directory, 'plain.tar')}:${IMAGE}`);
    convert(source, `oci:${join(directory, 'verity')}:${IMAGE}`, '--dm-verity');
    execFileSync('tar', ['-C', join(directory, 'verity'), '-cf', join(directory, 'verity.tar'), '.']);
    const self = [process.execPath, fileURLToPath(import.meta.url), '--inside', directory, bin];
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const child = spawn('unshare', [...namespaces, '--', ...self], {
      stdio: 'inherit',
      timeout: SCENARIO_TIMEOUT,
      killSignal: 'SIGKILL',
    });
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill('SIGKILL'));
    const [code] = await once(child, 'exit');
    return code ?? 1;
  } finally {
    await removeCgroups();
    rmSync(directory, { recursive: true, force: true });
  }
}

function convert(...args) {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const cli = process.env.SEEKABLE_EROFS_CLI ?? join(ROOT, bin['seekable-erofs']);
  execFileSync(process.execPath, [cli, 'convert', ...args, '--quiet'], {
    stdio: 'inherit',
    timeout: SCENARIO_TIMEOUT,
  });
}

async function inside(directory, bin) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const daemon = await startContainerd({ bin, directory });
  try {
    for (const { name, importFlags } of VARIANTS) {
      const archive = join(directory, `${name}.tar`);
      runImage(daemon, name, IMAGE, ['import', '--snapshotter', 'erofs', ...importFlags, archive]);
    }
    await runPulled(daemon, directory);
    runCached(daemon, directory);
    assert.equal(daemon.mkfsCalls, '', 'containerd converted nothing itself');
  } catch (error) {
    console.error(daemon.complaints);
    throw error;
  } finally {
    await daemon.stop();
  }
}

/** The image converted into a registry, and run from there. */
async function runPulled(daemon, directory) {
  const registry = await startRegistry(directory);
  try {
    const image = `${registry.host}/sample:1`;
    convert(`oci:${join(directory, 'source')}:${IMAGE}`, `docker://${image}`, '--dm-verity');
    runImage(daemon, PULLED, image, ['pull', '--snapshotter', 'erofs', '--plain-http', image]);
  } finally {
    registry.stop();
  }
}

/** The source image: its tars are never unpacked, for the cache has an EROFS image for each. */
function runCached(daemon, directory) {
  const namespace = `${NAMESPACE}-${CACHED}`;
  const before = layerFiles(daemon);
  convert(`oci:${join(directory, 'source')}:${IMAGE}`, `erofs-cache:${daemon.cache}`);
  const archive = join(directory, 'source.tar');
  execFileSync('tar', ['-C', join(directory, 'source'), '-cf', archive, '.']);
  daemon.ctr(namespace, 'images', 'import', '--snapshotter', 'erofs', archive);
  const printed = daemon.ctr(namespace, 'run', '--rm', '--snapshotter', 'erofs', IMAGE, 'sample');
  assert.equal(printed, EXPECTED_OUTPUT, 'cached: what the container sees');
  assert.deepEqual(layerFiles(daemon), before, 'cached: no layer was unpacked');
  console.log('ok: containerd runs the sample image (cached)');
}

/** Gets an image by `ctr images` and runs it. A namespace of its own keeps variants with equal DiffIDs from sharing snapshots. */
function runImage(daemon, name, image, getImage) {
  const namespace = `${NAMESPACE}-${name}`;
  const before = layerFiles(daemon);
  daemon.ctr(namespace, 'images', ...getImage);
  const printed = daemon.ctr(namespace, 'run', '--rm', '--snapshotter', 'erofs', image, 'sample');
  assert.equal(printed, EXPECTED_OUTPUT, `${name}: what the container sees`);
  const mounted = layerFiles(daemon)
    .filter((file) => !before.includes(file))
    .map(sha256File);
  const expected = diffIds(daemon, namespace, image);
  assert.deepEqual(mounted.sort(), expected.sort(), `${name}: containerd mounts the images that we made`);
  console.log(`ok: containerd runs the sample image (${name})`);
}

function layerFiles(daemon) {
  return readdirSync(daemon.snapshots)
    .map((id) => join(daemon.snapshots, id, 'layer.erofs'))
    .filter((file) => existsSync(file));
}

function diffIds(daemon, namespace, image) {
  const content = (digest) => JSON.parse(daemon.ctr(namespace, 'content', 'get', digest));
  const [, digest] = new RegExp(`^${image} .*(sha256:[0-9a-f]{64})`, 'm').exec(
    daemon.ctr(namespace, 'images', 'ls'),
  );
  return content(content(digest).config.digest).rootfs.diff_ids;
}

const sha256File = (file) => `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`;

/** cgroups outlive a namespace: remove the ones that containerd named after ours, once their processes are gone. */
async function removeCgroups() {
  const mountLines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mounts = mountLines.filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(' ')[4]);
  const groups = mounts.flatMap((mount) =>
    [...VARIANTS.map(({ name }) => name), PULLED, CACHED].flatMap((name) => [
      join(mount, `${NAMESPACE}-${name}`, 'sample'),
      join(mount, `${NAMESPACE}-${name}`),
    ]),
  );
  for (const group of groups.filter((path) => existsSync(path))) {
    for (let attempt = 0; attempt < 50 && existsSync(group); attempt++) {
      try {
        rmdirSync(group);
      } catch (error) {
        if (error.code !== 'EBUSY') throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

if (process.argv[2] === '--inside') {
  await inside(...process.argv.slice(3));
} else {
  const reason = missing();
  if (reason) console.log(`SKIP: ${reason}`);
  else process.exitCode = await outside();
}
