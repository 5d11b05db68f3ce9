// Mounts of every kind that the kernel checks, read to the last byte; and what other programs say of their devices.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  checkAll,
  checkNothingLeft,
  load,
  output,
  place,
  prepared,
  readJson,
  state,
  test,
} from './support/guest.mjs';

const { listMounts, mountImage, unmountImage } = load('index.js');
const options = { state, verity: 'require' };

/** `dmsetup table` and `veritysetup status` of a device must say what was asked for. */
function checkDevice(device, { algorithm, blockSize, roothash, salt }) {
  const name = readFileSync(`/sys/block/${basename(device)}/dm/name`, 'utf8').trim();
  const [start, , target, version, data, hash, dataSize, hashSize, blocks, , hashName, root, tableSalt] =
    output('dmsetup', 'table', name).trim().split(' ');
  assert.deepEqual([start, target, version, hashName, root], ['0', 'verity', '1', algorithm, roothash]);
  assert.equal(data, hash, 'one loop device for data and tree');
  assert.deepEqual([dataSize, hashSize], [String(blockSize), String(blockSize)]);
  if (salt !== undefined) assert.equal(tableSalt, salt === '' ? '-' : salt);
  const status = output('veritysetup', 'status', name);
  for (const line of [/status:\s+verified/, /mode:\s+readonly/, new RegExp(`root hash:\\s+${roothash}`)])
    assert.match(status, line);
  assert.match(status, new RegExp(`hash name:\\s+${algorithm}`));
  assert.match(status, new RegExp(`size:\\s+${(blocks * blockSize) / 512} sectors`));
}

await test('emptied records: devices go all the same', async () => {
  const [{ name }] = readJson('layers.json');
  const target = place();
  const { layers } = await mountImage(prepared(`${name}.erofs`), target, options);
  const files = readdirSync(state, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.json'),
  );
  assert.equal(files.length, 2, 'a record of the mount, and one of its layer');
  for (const file of files) writeFileSync(join(state, file), '');
  assert.deepEqual(await listMounts({ state }), [{ target, layers: [] }]);
  const { undone } = await unmountImage(target, { state });
  assert.deepEqual(undone, ['erofs', 'dm', 'loop']);
  await checkNothingLeft();
  assert.equal(existsSync(`/sys/block/${basename(layers[0].device)}`), false);
});

for (const { name, algorithm, blockSize, blob, tree } of readJson('layers.json')) {
  const { roothash } = readJson(`${name}.erofs.dmverity`);
  await test(`${name}: materialised, mounted, read`, async () => {
    const target = place();
    const { layers } = await mountImage(prepared(`${name}.erofs`), target, options);
    assert.deepEqual(
      layers.map(({ verity }) => verity),
      ['kernel'],
    );
    checkAll(target, tree);
    checkDevice(layers[0].device, { algorithm, blockSize, roothash });
    const { undone } = await unmountImage(target, { state });
    assert.deepEqual(undone, ['erofs', 'dm', 'loop']);
    assert.deepEqual((await unmountImage(target, { state })).undone, [], 'twice');
    await checkNothingLeft();
  });
  if (!blob) continue;
  await test(`${name}: a blob, mounted, read`, async () => {
    const target = place();
    const descriptor = readJson(`${name}.json`);
    const { layers } = await mountImage(prepared(`${name}.blob`), target, { ...options, descriptor });
    checkAll(target, tree);
    checkDevice(layers[0].device, { algorithm, blockSize, roothash, salt: '' });
    await unmountImage(target, { state });
    await checkNothingLeft();
  });
}

await test('an image of three layers, each with its tree', async () => {
  const target = place();
  const { layers } = await mountImage(`oci:${prepared('image')}`, target, options);
  assert.deepEqual(
    layers.map(({ verity }) => verity),
    ['kernel', 'kernel', 'kernel'],
  );
  assert.equal(new Set(layers.map(({ device }) => device)).size, 3);
  checkAll(target, readJson('image.json').tree);
  assert.throws(() => readFileSync(`${target}/new`, { flag: 'w' }), { code: 'EROFS' });
  assert.deepEqual(
    (await listMounts({ state })).map((mount) => mount.target),
    [target],
  );
  const { undone } = await unmountImage(target, { state });
  assert.deepEqual([...new Set(undone)], ['overlay', 'erofs', 'dm', 'loop']);
  await checkNothingLeft();
});

await test('without dm-verity: loop devices, for this kernel mounts no files', async () => {
  const target = place();
  const { layers } = await mountImage(`oci:${prepared('image')}`, target, { state, verity: 'off' });
  assert.deepEqual(
    layers.map(({ verity }) => verity),
    ['none', 'none', 'none'],
  );
  for (const { device } of layers) assert.match(device, /^\/dev\/loop\d+$/);
  checkAll(target, readJson('image.json').tree);
  await unmountImage(target, { state });
  await checkNothingLeft();
});

await test('two mounts of a layer share its device', async () => {
  const [one, two] = [place(), place()];
  const source = prepared('single-sha512-4096.erofs');
  const first = await mountImage(source, one, options);
  const second = await mountImage(source, two, options);
  assert.equal(second.layers[0].device, first.layers[0].device);
  assert.deepEqual((await unmountImage(one, { state })).undone, ['erofs']);
  assert.ok(statSync(`${two}/data/file1`).size > 0);
  assert.deepEqual((await unmountImage(two, { state })).undone, ['erofs', 'dm', 'loop']);
  await checkNothingLeft();
});
