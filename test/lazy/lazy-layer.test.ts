import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Semaphore } from 'async-mutex';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { decodeBlob, encodeLayer } from '../../src';
import { ChunkStore } from '../../src/lazy/chunk-store';
import { FetchQueue } from '../../src/lazy/fetch-queue';
import { layerChunks } from '../../src/lazy/layer-chunks';
import { LazyLayer } from '../../src/lazy/lazy-layer';
import { openSeekable } from '../../src/layer/seekable';
import type { ByteSource } from '../../src/source/byte-source';
import { openFileSource } from '../../src/source/file';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
const at = (name: string): string => join(folder, name);
/** What the FUSE server is told: the chunks that came, and those that can't be had. */
let stored: number[];
let failed: number[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lazy-layer-'));
  [stored, failed] = [[], []];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A layer of a tree of several levels, and what `decode --dm-verity` makes of it: what a lazy layer must come to. */
async function makeLayer(profile: 'containerd' | 'erofs-image-spec') {
  const content = randomBytes(1_500_000).toString('hex');
  await writeFile(at('layer.tar'), tarBytes([{ name: 'noise', content }]));
  const choices = { profile, chunkSize: 65_536, dmVerity: true, dmVerityBlockSize: 512 } as const;
  const descriptor = await encodeLayer(at('layer.tar'), at('blob'), choices);
  await decodeBlob(at('blob'), at('device'), { descriptor, dmVerity: true });
  return { descriptor, device: await readFile(at('device')) };
}

async function openLazy(
  descriptor: Awaited<ReturnType<typeof makeLayer>>['descriptor'],
  spoil: (bytes: Buffer, offset: number) => void,
) {
  const file = await openFileSource(at('blob'));
  const blob = await openSeekable(file, { descriptor });
  const chunks = layerChunks(blob, true);
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const bytes = Buffer.from(await file.read(offset, length));
    spoil(bytes, offset);
    return bytes;
  };
  const source: ByteSource = { name: 'blob', size: file.size, read, close: () => file.close() };
  const layer = new LazyLayer({
    node: 7,
    chunks,
    store: await ChunkStore.open(folder, chunks.starts),
    sources: [source],
    fuse: {
      stored: (_node, chunk) => stored.push(chunk),
      delivered: () => expect.unreachable('the disk has room'),
      failed: (_node, chunk) => failed.push(chunk),
    },
    queue: new FetchQueue({ requests: 4, backgroundRate: Infinity }),
    decoding: new Semaphore(2),
    ioTimeout: 60_000,
    onWarning: () => undefined,
  });
  return { layer, chunks, blob };
}

test.each(['containerd', 'erofs-image-spec'] as const)(
  'the file of a layer with its tree is what dm-verity gets of an eager mount (%s)',
  async (profile) => {
    const { descriptor, device } = await makeLayer(profile);
    const { layer, chunks } = await openLazy(descriptor, () => undefined);
    // The tree before the data, the end before the beginning: in the order that a kernel may ask in.
    for (let chunk = layer.store.chunks - 1; chunk >= 0; chunk--) await layer.fetchNow(chunk, chunk + 1);
    expect(layer.store.isComplete).toBe(true);
    expect(chunks.starts.at(-1)).toBe(device.length);
    await layer.close();
    expect((await readFile(at('data'))).equals(device)).toBe(true);
  },
);

test('a block of the tree that is not what the block above says is not stored', async () => {
  const { descriptor, device } = await makeLayer('containerd');
  let isBad = false;
  const { layer, chunks, blob } = await openLazy(descriptor, (bytes, offset) => {
    const at = blob.tree!.treeOffset + blob.tree!.treeSize - 1; // the last byte of the lowest level
    if (isBad && offset <= at && at < offset + bytes.length) bytes[at - offset]! ^= 1;
  });
  isBad = true;
  const last = layer.store.chunks - 1;
  expect(last).toBeGreaterThanOrEqual(chunks.frameCount);
  await layer.fetchNow(last, last + 1);
  expect([layer.store.has(last), failed]).toEqual([false, [last]]);
  isBad = false;
  await layer.fetchNow(0, layer.store.chunks);
  expect(stored).toHaveLength(layer.store.chunks);
  await layer.close();
  expect((await readFile(at('data'))).equals(device)).toBe(true);
});
