import { mkdir, open, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { LayerCache } from '../../src/convert/layer-cache';
import { at, useFolders } from '../e2e/workspace';

useFolders();

const digest = `sha256:${'a'.repeat(64)}`;
const layer = {
  descriptor: { mediaType: 'text/plain', digest, size: 4 },
  diffId: digest,
  uncompressedSize: 4,
};

/** Adds a layer to the cache `cache`. */
async function add(): Promise<void> {
  await writeFile(at('blob'), 'blob');
  const file = await open(at('blob'));
  const cache = await LayerCache.open(at('cache'));
  await cache.add('key', { fd: file.fd, layer: { ...layer, index: null }, indexPayload: null });
  await cache.close();
  await file.close();
}

async function isFound(): Promise<boolean> {
  const cache = await LayerCache.open(at('cache'));
  const found = await cache.find('key');
  await found?.blob.close();
  await cache.close();
  return found !== null;
}

/** The name of the folder that has the entries of this program. */
const folderOfVersion = async (): Promise<string> => (await readdir(at('cache')))[0]!;

test('what an earlier or a later version has cached is not read, and stays for it', async () => {
  await mkdir(at('cache'));
  await add();
  expect(await isFound()).toBe(true);
  const ours = await folderOfVersion();
  const version = Number(/^v(\d+)$/.exec(ours)![1]);
  for (const other of [version - 1, version + 1]) {
    await rename(at(`cache/${ours}`), at(`cache/v${other}`));
    expect(await isFound()).toBe(false);
    await add();
    expect(await isFound()).toBe(true);
    const [blob] = (await readdir(at(`cache/v${other}`), { recursive: true })).filter((name) =>
      name.endsWith('blob'),
    );
    expect(await readFile(at(`cache/v${other}/${blob}`), 'utf8')).toBe('blob');
  }
});
