// Lazy mounts whose blocks the kernel checks: dm-verity over a loop device over a file that fills as it is read.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  checkAll,
  checkNothingLeft,
  dropCaches,
  load,
  place,
  prepared,
  readAll,
  readJson,
  stateNamed,
  test,
} from './support/guest.mjs';
import { flip, serve, untilComplete } from './support/lazy-server.mjs';

const { mountImage, unmountImage } = load('index.js');
const { connectToServer } = load('lazy/client.js');
const reference = `oci:${prepared('lazy-image')}`;
const { tree } = readJson('lazy-image.json');
const file = 'data/large';

const optionsIn = (state) => ({ state, verity: 'require', lazy: true });

/** What the server of a state folder says of itself. */
async function serverOf(state) {
  const server = await connectToServer(state);
  try {
    return await server.call('status', {});
  } finally {
    server.close();
  }
}

/** The only entry of a folder of layers. */
function entryOf(folder) {
  const [key, ...others] = readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name));
  assert.equal(others.length, 0);
  return join(folder, key);
}

await test('lazy: dm-verity over loop over a file that fills; a flipped byte of the store is EIO, in that file alone', async () => {
  const state = stateNamed('lazy');
  const target = place();
  const server = await serve(state);
  const { layers } = await mountImage(reference, target, optionsIn(state));
  assert.deepEqual(
    layers.map(({ verity }) => verity),
    ['kernel'],
  );
  assert.match(layers[0].device, /^\/dev\/(mapper\/|dm-)/);
  const before = (await serverOf(state)).layers[0];
  assert.ok(before.present < before.chunks, 'not all of it is here yet');
  checkAll(target, tree);
  await untilComplete(join(state, 'content'));
  const content = readFileSync(`${target}/${file}`);
  const data = join(entryOf(join(state, 'content/lazy')), 'data');
  const start = readFileSync(data).indexOf(content.subarray(0, 64));
  assert.ok(start > 0, 'the file lies in the store as it is');
  flip(data, start + 30_000);
  dropCaches();
  assert.deepEqual(readAll(target, tree), [file]);
  flip(data, start + 30_000);
  dropCaches();
  checkAll(target, tree);
  const { undone } = await unmountImage(target, { state });
  assert.deepEqual([...new Set(undone)], ['erofs', 'dm', 'loop']);
  await server.end();
  await checkNothingLeft();
});

await test('lazy: a layer that is complete, and its tree, are what an eager mount takes', async () => {
  const state = stateNamed('promoted');
  const target = place();
  const server = await serve(state);
  await mountImage(reference, target, optionsIn(state));
  checkAll(target, tree);
  const content = join(state, 'content');
  await untilComplete(content);
  await unmountImage(target, { state });
  await server.end();
  await checkNothingLeft();
  const image = join(entryOf(content), 'image');
  const { ino } = statSync(image);
  const { layers } = await mountImage(reference, target, { state, verity: 'require' });
  assert.deepEqual(
    layers.map(({ verity }) => verity),
    ['kernel'],
  );
  assert.equal(statSync(image).ino, ino);
  assert.equal(readFileSync(`/sys/block/${loopOf(image)}/loop/backing_file`, 'utf8').trim(), image);
  checkAll(target, tree);
  await unmountImage(target, { state });
  await checkNothingLeft();
});

/** The loop device on a file. */
function loopOf(path) {
  return readdirSync('/sys/block').find((name) => {
    const backing = `/sys/block/${name}/loop/backing_file`;
    return existsSync(backing) && readFileSync(backing, 'utf8').trim() === path;
  });
}

await test('lazy: this kernel repeats no requests: when the server dies, readers get EIO, and the next mount works', async () => {
  const state = stateNamed('dead');
  const target = place();
  const first = await serve(state);
  await mountImage(reference, target, optionsIn(state));
  const { pid } = await serverOf(state);
  process.kill(pid, 'SIGSTOP'); // a read is under way when it dies
  const reader = spawn('cat', [`${target}/${file}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  reader.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  const closed = once(reader, 'close');
  while (!isWaiting(reader.pid)) await sleep(100);
  process.kill(pid, 'SIGKILL');
  assert.deepEqual(await closed, [1, null]);
  assert.match(said, /Input\/output error|not connected/);
  await assert.rejects(first.ended, /this kernel can not repeat requests/);
  dropCaches();
  assert.notDeepEqual(readAll(target, tree), []);
  await unmountImage(target, { state });
  const second = await serve(state);
  await mountImage(reference, target, optionsIn(state));
  checkAll(target, tree);
  await unmountImage(target, { state });
  await second.end();
  await checkNothingLeft();
});

/** Whether a process waits for a disk. */
function isWaiting(pid) {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].startsWith('D');
}
