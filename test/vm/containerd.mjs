// What stock containerd gets from us, activated as it does that: a loop device, dm-verity by the sidecar beside the image, EROFS on it.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkAll,
  checkNothingLeft,
  dropCaches,
  load,
  output,
  place,
  prepared,
  readAll,
  readJson,
  stateNamed,
  test,
} from './support/guest.mjs';
import { flip, serve, untilComplete } from './support/lazy-server.mjs';

const { applyLayer } = load('containerd/differ.js');
const { addLazyImage, removeLazyImage } = load('index.js');

/** Mounts an image by its sidecar, has `look(folder)` look at it, and undoes that. */
function withVerity(image, look) {
  const { roothash, hashoffset } = JSON.parse(readFileSync(`${image}.dmverity`, 'utf8'));
  const loop = output('losetup', '--find', '--show', '--read-only', image).trim();
  const target = place();
  try {
    output('veritysetup', 'open', loop, 'containerd', loop, roothash, `--hash-offset=${hashoffset}`);
    try {
      output('mount', '-t', 'erofs', '-o', 'ro', '/dev/mapper/containerd', target);
      try {
        return look(target);
      } finally {
        output('umount', target);
      }
    } finally {
      output('veritysetup', 'close', 'containerd');
    }
  } finally {
    output('losetup', '--detach', loop);
  }
}

await test('containerd: a layer that the differ unpacked is checked by the kernel; a flipped byte is EIO, in that file alone', async () => {
  const name = 'single-sha512-4096';
  const { tree } = readJson('layers.json').find((layer) => layer.name === name);
  const { mediaType, digest, size, annotations } = readJson(`${name}.json`);
  const root = prepared('containerd');
  const layer = join(root, 'io.containerd.snapshotter.v1.erofs/snapshots/1');
  const blobs = join(root, 'io.containerd.content.v1.content/blobs/sha256');
  for (const folder of [join(layer, 'fs'), blobs]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(layer, '.erofslayer'), '');
  copyFileSync(prepared(`${name}.blob`), join(blobs, digest.slice('sha256:'.length)));
  const diff = { media_type: mediaType, digest, size, annotations };
  const mounts = [{ type: 'bind', source: join(layer, 'fs'), options: ['rw', 'rbind'] }];
  await applyLayer({ diff, mounts }, { root });
  const image = join(layer, 'layer.erofs');
  const content = withVerity(image, (target) => {
    checkAll(target, tree);
    return readFileSync(join(target, 'data/file5'));
  });
  const start = readFileSync(image).indexOf(content.subarray(0, 64));
  assert.ok(start > 0, 'the file lies in the image as it is');
  flip(image, start + 30_000);
  dropCaches();
  withVerity(image, (target) => assert.deepEqual(readAll(target, tree), ['data/file5']));
  rmSync(root, { recursive: true });
  await checkNothingLeft();
});

await test('containerd: a layer of the cache is checked by the kernel; a flipped byte of the store is EIO, in that file alone', async () => {
  const state = stateNamed('cache');
  const cache = prepared('cache');
  mkdirSync(cache);
  const { tree } = readJson('lazy-image.json');
  const reference = `oci:${prepared('lazy-spec')}`; // with a tree that containerd opens
  const server = await serve(state, { erofsCache: cache });
  await addLazyImage(reference, { state });
  const shown = readdirSync(cache, { recursive: true, encoding: 'utf8' });
  const image = join(
    cache,
    shown.find((name) => name.endsWith('.erofs')),
  );
  const content = withVerity(image, (target) => {
    checkAll(target, tree);
    return readFileSync(join(target, 'data/large'));
  });
  const lazy = join(state, 'content/lazy');
  const data = readdirSync(lazy, { recursive: true, encoding: 'utf8' })
    .map((name) => join(lazy, name))
    .find((path) => path.endsWith('/data'));
  await untilComplete(join(state, 'content'));
  const start = readFileSync(data).indexOf(content.subarray(0, 64));
  assert.ok(start > 0, 'the file lies in the store as it is');
  flip(data, start + 30_000);
  dropCaches();
  withVerity(image, (target) => assert.deepEqual(readAll(target, tree), ['data/large']));
  flip(data, start + 30_000);
  await removeLazyImage(reference, { state });
  await server.end();
  await checkNothingLeft();
});
