import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildErofs, encodeLayer, inspect, verifyImage } from '../../src/index';
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
