import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildErofs, encodeLayer, extractImage, inspect, verifyImage } from '../../src/index';
import { digestOf } from '../../src/format/digest';
import { pageImages } from '../../src/image/page/model';
import { makeTar, noise } from '../e2e/sample';
import { RangeServer } from '../support/range-server';
import { refusal } from '../support/refusal';

// The claim: what reads a layer in a file reads one on a web server, and says the same of it.

let folder: string;
let server: RangeServer;
let descriptor: Awaited<ReturnType<typeof encodeLayer>>;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'remote-layer-'));
  const tar = await makeTar([
    { name: 'usr/bin/tool', content: noise(300_000, 'tool'), mode: 0o755 },
    { name: 'etc/motd', content: 'good morning\n' },
  ]);
  await writeFile(at('layer.tar'), tar);
  descriptor = await encodeLayer(at('layer.tar'), at('layer.blob'), { chunkSize: 65_536, dmVerity: true });
  server = await RangeServer.start(await readFile(at('layer.blob')));
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

test('a blob by its URL is inspected and verified as in a file', async () => {
  expect(await inspect(server.url, { descriptor })).toEqual(await inspect(at('layer.blob'), { descriptor }));
  expect(await verifyImage(server.url, { descriptor })).toMatchObject({ ok: true });
  const shared = await inspect(at('layer.blob'), { descriptor, sharedWith: [at('layer.blob')] });
  expect(shared.sharedWith![0]!.sharedChunks).toBeGreaterThan(4);
});

test('its page is that of the file, made of its table and its metadata', async () => {
  server.takeRanges();
  const [remote] = await pageImages(server.url, { descriptor });
  const fetched = server.requests.map(({ range }) =>
    range === null ? Infinity : range.last - range.first + 1,
  );
  expect(fetched.reduce((sum, bytes) => sum + bytes)).toBeLessThan(descriptor.size / 2);
  const [local] = await pageImages(at('layer.blob'), { descriptor });
  expect({ ...remote!, name: '' }).toEqual({ ...local!, name: '' });
  expect(remote!.tree!.bytes).toBe(300_000 + 13);
});

test('a raw image by its URL is fetched whole, checked, and has files but no chunks', async () => {
  await buildErofs(at('layer.tar'), at('layer.erofs'));
  const image = await readFile(at('layer.erofs'));
  const raw = await RangeServer.start(image);
  const own = { mediaType: 'application/vnd.erofs.layer.v1', digest: digestOf(image), size: image.length };
  try {
    const [page] = await pageImages(raw.url, { descriptor: { ...own, diffId: own.digest } });
    expect(page!.layers[0]).toMatchObject({ kind: 'raw', chunks: 0, fileBytes: 300_013 });
    expect(page!.tree!.bytes).toBe(300_013);
    raw.bytes = Buffer.from(image);
    raw.bytes[image.length - 1]! ^= 1;
    await expect(pageImages(raw.url, { descriptor: { ...own, diffId: own.digest } })).rejects.toMatchObject({
      code: 'MISMATCH',
    });
  } finally {
    await raw.stop();
  }
});

test('nothing is read of a URL that no descriptor vouches for', async () => {
  server.takeRanges();
  const refused = refusal('USAGE', 'a URL is read with a descriptor only');
  for (const read of [inspect, verifyImage, (url: string) => pageImages(url, {})])
    await expect(read(server.url)).rejects.toEqual(refused);
  expect(server.takeRanges()).toEqual([]);
});

/** A release whose files are cut by themselves, on a server of its own; and what comes of it when it is extracted with the cache. */
async function release(name: string, changed: string) {
  const files = Array.from({ length: 20 }, (_, i) => ({
    name: `lib/${i}`,
    content: noise(70_000, i === 7 ? changed : `${i}`),
  }));
  await writeFile(at(`${name}.tar`), await makeTar(files));
  const options = { profile: 'erofs-image-spec', chunking: 'files', chunkSize: 65_536 } as const;
  const own = await encodeLayer(at(`${name}.tar`), at(`${name}.blob`), options);
  const web = await RangeServer.start(await readFile(at(`${name}.blob`)));
  const extract = async (): Promise<number> => {
    web.takeRanges();
    const target = await mkdtemp(at(`${name}-`));
    await extractImage(web.url, target, { descriptor: own, cacheDir: at('cache') });
    for (const file of files)
      expect((await readFile(join(target, file.name))).equals(file.content)).toBe(true);
    return web.requests.reduce(
      (sum, { range }) => sum + (range ? range.last - range.first + 1 : Infinity),
      0,
    );
  };
  return { extract, descriptor: own, stop: () => web.stop() };
}

test('with a cache, of an update what changed is fetched; what lies there is believed by its checksum alone', async () => {
  const [first, second] = [await release('first', 'old'), await release('second', 'new')];
  try {
    await extractImage(at('first.blob'), at('local'), {
      descriptor: first.descriptor,
      cacheDir: at('cache'),
    });
    await expect(readdir(at('cache'))).rejects.toThrow('ENOENT'); // a file is here already
    expect(await first.extract()).toBeGreaterThan(1_400_000);
    expect(await second.extract()).toBeLessThan(70_000 + 4 * 32_768);
    const names = await readdir(at('cache/sha512'), { recursive: true });
    for (const name of names.filter((name) => name.length > 100)) {
      const path = at(`cache/sha512/${name}`);
      const frame = await readFile(path);
      frame[frame.length >> 1]! ^= 1;
      await writeFile(path, frame);
    }
    expect(await second.extract()).toBeGreaterThan(1_400_000);
  } finally {
    await first.stop();
    await second.stop();
  }
});
