// Single flipped bytes: the kernel or we refuse, and wrong bytes are never seen.
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { watchedSteps } from '../support/watched-steps.mjs';
import { checkNothingLeft, load, place, prepared, readAll, readJson, state, test } from './support/guest.mjs';

const { mountImage, unmountImage } = load('index.js');
const { mountWith } = load('mount/mount.js');
const options = { state, verity: 'require' };

const name = 'single-sha512-4096';
const source = prepared(`${name}.erofs`);
const sidecar = readJson(`${name}.erofs.dmverity`);
const { tree } = readJson('layers.json').find((layer) => layer.name === name);
const copy = prepared('copy.erofs');

/** A copy with one byte changed, and its sidecar. */
function flip(offset, changes = {}) {
  rmSync(copy, { force: true });
  copyFileSync(source, copy);
  writeFileSync(`${copy}.dmverity`, JSON.stringify({ ...sidecar, ...changes }));
  if (offset === null) return;
  const fd = openSync(copy, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, offset);
  byte[0] ^= 0x10;
  writeSync(fd, byte, 0, 1, offset);
  closeSync(fd);
}

/** Mounts the copy: null when it was refused, else the files that could not be read. */
async function tryMount() {
  const target = place();
  try {
    await mountImage(copy, target, options);
  } catch (error) {
    assert.ok(
      ['MISMATCH', 'CORRUPT', 'IO', 'FAILED'].includes(error.code),
      `${error.code}: ${error.message}`,
    );
    await checkNothingLeft('after a refused mount');
    return null;
  }
  const unreadable = readAll(target, tree);
  await unmountImage(target, { state });
  await checkNothingLeft();
  return unreadable;
}

const image = readFileSync(source);
const files = Object.keys(tree).filter((path) => tree[path][0] === 'file' && path !== 'data/empty');

await test('the copy as it is can be read', async () => {
  flip(null);
  assert.deepEqual(await tryMount(), []);
});

await test('a flipped byte of a file is EIO, in that file alone', async () => {
  for (const path of ['data/file1', 'data/file5', 'data/file8']) {
    const target = place();
    await mountImage(source, target, options);
    const content = readFileSync(`${target}/${path}`);
    await unmountImage(target, { state });
    const start = image.indexOf(content.subarray(0, 64));
    assert.ok(start > 0, 'the file lies in the image as it is');
    flip(start + 30_000);
    assert.deepEqual(await tryMount(), [path]);
  }
});

const treeStart = sidecar.hashoffset + 4096;
const places = [
  ['the first block of the image', 1024 + 4],
  ["the EROFS superblock's padding", 100],
  ['the top of the tree', treeStart + 7],
  ['the unused end of the top', treeStart + 4095],
  ['the lowest level', treeStart + 4096 + 64 * 20],
  ['the end of the tree', image.length - 1],
  ...[0, 8, 12, 32, 64, 68, 72, 80, 88].map((offset) => [
    `byte ${offset} of dm-verity's superblock`,
    sidecar.hashoffset + offset,
  ]),
];

await test('a flipped byte anywhere else is refused, or EIO', async () => {
  for (const [what, offset] of places) {
    flip(offset);
    const unreadable = await tryMount();
    assert.ok(unreadable === null || unreadable.length > 0, `${what}: nobody noticed`);
    assert.ok(unreadable === null || unreadable.length < files.length, `${what}: no file can be read`);
  }
});

await test('a byte that nothing depends on changes nothing', async () => {
  flip(sidecar.hashoffset + 20); // the UUID, which the root digest does not cover
  assert.deepEqual(await tryMount(), []);
});

/** Mounts with a wrong root digest, and checks that nothing was set up before it was refused. */
async function refuseRoot(subject, own) {
  const moments = [];
  const parts = watchedSteps((moment) => void moments.push(moment));
  await assert.rejects(mountWith(subject, place(), { ...options, ...own }, parts), { code: 'MISMATCH' });
  assert.deepEqual(
    moments.filter((moment) => /loop|dm|erofs|bind/.test(moment)),
    [],
  );
  await checkNothingLeft();
}

await test('a wrong root digest is refused before anything is set up: sidecar', async () => {
  flip(null, { roothash: `${sidecar.roothash.slice(0, -1)}${sidecar.roothash.endsWith('0') ? '1' : '0'}` });
  await refuseRoot(copy, {});
});

await test('a wrong root digest is refused before anything is set up: descriptor', async () => {
  const descriptor = readJson(`${name}.json`);
  const key = 'dev.containerd.erofs.dmverity.root_digest';
  const annotations = { ...descriptor.annotations, [key]: `sha512:${'ab'.repeat(64)}` };
  await refuseRoot(prepared(`${name}.blob`), { descriptor: { ...descriptor, annotations } });
});
