// Stock containerd itself, in the VM: it mounts what our differ unpacked, and what our cache shows, through dm-verity, and a flipped byte is EIO in
// the container, in that file alone.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { differing, startContainerd } from '../e2e/support/containerd-daemon.mjs';
import { startServer } from '../e2e/support/lazy-server.mjs';
import { onceConnected } from '../e2e/support/node.mjs';
import { startRegistry } from '../e2e/support/registry.mjs';
import { checkNothingLeft, dropCaches, load, output, prepared, program, test } from './support/guest.mjs';
import { noise } from './support/layers.mjs';
import { flip } from './support/lazy-server.mjs';

const { addLazyImage, removeLazyImage } = load('index.js');
const directory = prepared('node');
const at = (name) => join(directory, name);
const tree = JSON.parse(readFileSync(prepared('image.json'), 'utf8')).tree;
/** A file of a layer of its own, and one of another. */
const [flipped, other] = ['data/added', 'data/kept'];
/** Sums of both, and the devices that EROFS is mounted from. */
const script = `busybox sha256sum /${other} /${flipped} 2>&1; busybox sleep 1`;

/** Names of dm-verity devices that containerd has made. */
const devices = () => output('dmsetup', 'ls').match(/^containerd-erofs-\w+/gm) ?? [];

async function startNode() {
  mkdirSync(directory);
  const sockets = { differ: at('differ.sock') };
  const udev = spawn(process.execPath, [resolve(import.meta.dirname, 'support/udev.mjs')], {
    stdio: 'inherit',
  });
  const registry = await startRegistry(directory);
  const server = await startServer(directory, sockets, ['--erofs-cache', at('cache')]);
  const daemon = await startContainerd({
    bin: prepared('containerd-programs'),
    directory,
    pause: 'none',
    extra: differing(sockets.differ),
    differs: ['seekable-diff', 'erofs', 'walking'],
  });
  const stop = async () => {
    await daemon.stop();
    await server.stop();
    registry.stop();
    udev.kill();
  };
  return { registry, server, daemon, stop };
}

/** Puts a prepared image into the registry; gives its name there. */
function push({ registry }, name) {
  const image = `${registry.host}/${name}:v1`;
  const names = [`oci:${prepared(name)}`, `docker://${image}`];
  execFileSync(process.execPath, [program, 'convert', ...names, '--quiet'], { stdio: 'ignore' });
  return image;
}

function pull({ daemon }, image) {
  return onceConnected(() =>
    daemon.ctr('default', 'images', 'pull', '--plain-http', '--snapshotter', 'erofs', image),
  );
}

let containers = 0;

/** What a container prints, and how many dm-verity devices there were meanwhile. */
async function run({ daemon }, image) {
  const name = `c${containers++}`;
  const command = ['run', '--rm', '--snapshotter', 'erofs', image, name, '/bin/sh', '-c', script];
  const printed = daemon.begin('default', ...command);
  let seen = 0;
  const timer = setInterval(() => (seen = Math.max(seen, devices().length)), 300);
  try {
    return { printed: await printed, seen };
  } finally {
    clearInterval(timer);
  }
}

const sumOf = (path) => `${tree[path][2]}  /${path}\n`;

/** Runs the image as it is, then with a byte of a file changed where its layer is kept, then as it is again. */
async function checkByFlip(node, image, file) {
  const sound = { printed: sumOf(other) + sumOf(flipped), seen: 3 };
  assert.deepEqual(await run(node, image), sound);
  const start = file().indexOf(noise(100_000, 'added').subarray(0, 64));
  assert.ok(start > 0, 'the file lies in the image as it is');
  flip(file.path, start + 30_000);
  dropCaches();
  const { printed } = await run(node, image);
  assert.ok(printed.startsWith(sumOf(other)), printed);
  assert.match(printed, /sha256sum: .*\/data\/added.*(Input\/output|I\/O) error/);
  flip(file.path, start + 30_000);
  dropCaches();
  assert.deepEqual(await run(node, image), sound);
}

/** The file, of those below a folder, that has the bytes of the one that is to be flipped. */
function fileWith(folder, ending) {
  const bytes = noise(100_000, 'added').subarray(0, 64);
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name));
  const path = paths.find((candidate) => readFileSync(candidate).includes(bytes));
  return Object.assign(() => readFileSync(path), { path });
}

if (!existsSync(prepared('containerd-programs'))) {
  console.log('SKIP: stock containerd in the VM: it could not be had (see above)');
} else {
  const node = await startNode();
  await test('stock containerd: what the differ unpacked is mounted through dm-verity; a flipped byte is EIO in the container', async () => {
    const image = push(node, 'image');
    await pull(node, image);
    await checkByFlip(node, image, fileWith(node.daemon.snapshots, '/layer.erofs'));
    node.daemon.ctr('default', 'images', 'remove', '--sync', image);
    assert.deepEqual(devices(), []);
  });
  await test('stock containerd: what the cache shows is mounted through dm-verity; a flipped byte of the store is EIO in the container', async () => {
    const reference = `oci:${prepared('spec-image')}`;
    await addLazyImage(reference, { state: node.server.state });
    const image = push(node, 'spec-image');
    await pull(node, image);
    await run(node, image);
    await checkByFlip(node, image, fileWith(join(node.server.content, 'lazy'), '/data'));
    node.daemon.ctr('default', 'images', 'remove', '--sync', image);
    await removeLazyImage(reference, { state: node.server.state });
    assert.deepEqual(devices(), []);
  });
  await node.stop();
  await checkNothingLeft();
}
