// A file of a mount stays open while it is unmounted.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import {
  checkAll,
  checkNothingLeft,
  leftovers,
  load,
  place,
  prepared,
  readJson,
  state,
  test,
} from './support/guest.mjs';

const { mountImage, unmountImage } = load('index.js');
const name = 'single-sha512-4096';
const source = prepared(`${name}.erofs`);
const { tree } = readJson('layers.json').find((layer) => layer.name === name);

await test('with a file open, umount works, and devices go when it is closed', async () => {
  const target = place();
  await mountImage(source, target, { state, verity: 'require' });
  const whole = readFileSync(`${target}/data/file7`);
  const fd = openSync(`${target}/data/file7`);
  try {
    const { undone } = await unmountImage(target, { state });
    assert.deepEqual(undone, ['erofs', 'dm', 'loop']);
    const kept = leftovers();
    assert.ok(kept.some((left) => left.startsWith('dm-')) && kept.some((left) => left.startsWith('loop')));
    const bytes = Buffer.alloc(whole.length);
    assert.equal(readSync(fd, bytes, 0, bytes.length, 0), whole.length);
    assert.ok(bytes.equals(whole));
    // The layer can be mounted anew meanwhile.
    const again = place();
    await mountImage(source, again, { state, verity: 'require' });
    checkAll(again, tree);
    await unmountImage(again, { state });
  } finally {
    closeSync(fd);
  }
  await checkNothingLeft();
});
