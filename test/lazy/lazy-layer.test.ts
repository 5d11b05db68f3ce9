import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { decodeBlob, encodeLayer } from '../../src';
import { failure } from '../../src/errors';
import { ChunkStore } from '../../src/lazy/chunk-store';
import { checkComplete } from '../../src/lazy/complete-layer';
import { DecodeBudget } from '../../src/lazy/decode-budget';
import { FetchQueue } from '../../src/lazy/fetch-queue';
import { layerChunks } from '../../src/lazy/layer-chunks';
import type { LayerSource } from '../../src/lazy/layer-sources';
import { LazyLayer, type LazyLayerParts } from '../../src/lazy/lazy-layer';
import { openSeekable } from '../../src/layer/seekable';
import { native } from '../../src/native/binding';
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
async function makeLayer(
  profile: 'containerd' | 'erofs-image-spec',
  content = randomBytes(1_500_000).toString('hex'),
  more: Parameters<typeof encodeLayer>[2] = {},
) {
  await writeFile(at('layer.tar'), tarBytes([{ name: 'noise', content }]));
  const choices = { profile, chunkSize: 65_536, dmVerity: true, dmVerityBlockSize: 512, ...more } as const;
  const descriptor = await encodeLayer(at('layer.tar'), at('blob'), choices);
  await decodeBlob(at('blob'), at('device'), { descriptor, dmVerity: true });
  return { descriptor, device: await readFile(at('device')) };
}

type Layer = Awaited<ReturnType<typeof makeLayer>>;
type Spoil = (bytes: Buffer, offset: number) => void;

/** A layer over its blob at several places, each of which may give other bytes. */
async function openLazy(
  descriptor: Layer['descriptor'],
  spoilers: readonly Spoil[],
  more: Partial<LazyLayerParts> & { stream?: LayerSource['stream'] } = {},
) {
  const file = await openFileSource(at('blob'));
  const blob = await openSeekable(file, { descriptor });
  const chunks = layerChunks(blob, { withTree: true });
  const sources = spoilers.map((spoil, i): LayerSource => {
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const bytes = Buffer.from(await file.read(offset, length));
      spoil(bytes, offset);
      return bytes;
    };
    const { size } = file;
    const { stream } = more;
    return {
      name: 'blob',
      place: `place ${i}`,
      size,
      read,
      ...(stream && { stream }),
      close: () => Promise.resolve(),
    };
  });
  const layer = new LazyLayer({
    node: 7,
    chunks,
    store: await ChunkStore.open(folder, chunks.starts),
    sources,
    fuse: {
      stored: (_node, chunk) => stored.push(chunk),
      delivered: () => expect.unreachable('the disk has room'),
      failed: (_node, chunk) => failed.push(chunk),
    },
    queue: new FetchQueue({ requests: 4, backgroundRate: Infinity }),
    decoding: new DecodeBudget(32 << 20),
    ioTimeout: 60_000,
    onWarning: () => undefined,
    ...more,
  });
  const close = async (): Promise<void> => {
    await layer.close();
    await file.close();
  };
  return { layer, chunks, blob, file, close };
}

const right: Spoil = () => undefined;
/** Spoils the byte of the blob at `position`. */
const wrongAt =
  (position: number): Spoil =>
  (bytes, offset) => {
    if (offset <= position && position < offset + bytes.length) bytes[position - offset]! ^= 1;
  };
const missing = (layer: LazyLayer, chunk: number): void => {
  layer.onEvent({ kind: 'missing', node: 7, first: chunk, last: chunk, resends: false });
};
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await sleep(1);
};

test.each(['containerd', 'erofs-image-spec'] as const)(
  'the file of a layer with its tree is what dm-verity gets of an eager mount (%s)',
  async (profile) => {
    const { descriptor, device } = await makeLayer(profile);
    const { layer, chunks, close } = await openLazy(descriptor, [right]);
    // The tree before the data, the end before the beginning: in the order that a kernel may ask in.
    for (let chunk = layer.store.chunks - 1; chunk >= 0; chunk--) await layer.fetchNow(chunk, chunk + 1);
    expect(layer.store.isComplete).toBe(true);
    expect(chunks.starts.at(-1)).toBe(device.length);
    await close();
    expect((await readFile(at('data'))).equals(device)).toBe(true);
  },
);

test('a block of the tree that is not what the block above says is not stored', async () => {
  const { descriptor, device } = await makeLayer('containerd');
  let isBad = false;
  const spoil: Spoil = (bytes, offset) => {
    if (isBad) wrongAt(blob.tree!.treeOffset + blob.tree!.treeSize - 1)(bytes, offset); // the last byte of the lowest level
  };
  const { layer, chunks, blob, close } = await openLazy(descriptor, [spoil]);
  isBad = true;
  const last = layer.store.chunks - 1;
  expect(last).toBeGreaterThanOrEqual(chunks.frameCount);
  await expect(layer.fetchNow(last, last + 1)).rejects.toMatchObject({ code: 'MISMATCH' });
  expect([layer.store.has(last), failed]).toEqual([false, [last]]);
  isBad = false;
  await layer.fetchNow(0, layer.store.chunks);
  expect(stored).toHaveLength(layer.store.chunks);
  await close();
  expect((await readFile(at('data'))).equals(device)).toBe(true);
});

test('a reader that comes back for a wrong chunk, while others of the same answer are on their way, gets its error at once again', async () => {
  const { descriptor } = await makeLayer('containerd');
  const { layer, close } = await openLazy(descriptor, [wrongAt(10)], {
    fuse: {
      stored: (_node, chunk) => stored.push(chunk),
      delivered: () => undefined,
      failed: (_node, chunk) => {
        failed.push(chunk);
        if (failed.length < 3) missing(layer, chunk);
      },
    },
  });
  for (let chunk = 0; chunk < 8; chunk++) missing(layer, chunk);
  await until(() => failed.length === 3 && stored.length === 7);
  expect(failed).toEqual([0, 0, 0]);
  expect(layer.counts().requests).toBeLessThanOrEqual(6); // each reader's error is two answers
  await close();
});

test('an answer that was wrong once costs its reader nothing', async () => {
  const { descriptor } = await makeLayer('containerd');
  let answers = 0;
  const { layer, close } = await openLazy(descriptor, [
    (bytes, offset) => {
      if (answers++ === 0) wrongAt(10)(bytes, offset);
    },
  ]);
  missing(layer, 0);
  await until(() => stored.length + failed.length > 0);
  expect([stored, failed, answers]).toEqual([[0], [], 2]);
  await close();
});

test('a chunk that is wrong at one place is taken from the next, whatever else is in the answer', async () => {
  const { descriptor } = await makeLayer('containerd');
  const { layer, close } = await openLazy(descriptor, [wrongAt(10), right]);
  for (let chunk = 0; chunk < 8; chunk++) missing(layer, chunk);
  await until(() => stored.length + failed.length === 8);
  expect([stored.toSorted((a, b) => a - b), failed]).toEqual([[0, 1, 2, 3, 4, 5, 6, 7], []]);
  expect(layer.counts().source).toBe('place 1');
  await close();
});

test('chunks are taken as they come: the first does not wait for the last of its answer', async () => {
  const { descriptor } = await makeLayer('containerd');
  let goOn: () => void = () => undefined;
  const { layer, file, close } = await openLazy(descriptor, [right], {
    async *stream(offset, length) {
      const { size } = layer.rangeOf(0);
      yield await file.read(offset, size);
      await new Promise<void>((resolve) => (goOn = resolve));
      yield await file.read(offset + size, length - size);
    },
  });
  for (let chunk = 0; chunk < 4; chunk++) layer.want(chunk, 'background');
  await until(() => stored.length > 0);
  missing(layer, 0);
  missing(layer, 1);
  await until(() => stored.length === 2); // the kernel is told again
  goOn();
  await until(() => stored.length === 5);
  expect(layer.counts().requests).toBe(1);
  await close();
});

test('a connection that is cut costs what was not here yet', async () => {
  const { descriptor } = await makeLayer('containerd');
  const asked: number[] = [];
  const { layer, file, close } = await openLazy(descriptor, [right], {
    async *stream(offset, length) {
      asked.push(offset);
      yield await file.read(offset, asked.length > 1 ? length : layer.rangeOf(0).size + 1);
      if (asked.length === 1) throw failure('IO', 'blob', 'the connection was cut');
    },
  });
  for (let chunk = 0; chunk < 4; chunk++) missing(layer, chunk);
  await until(() => stored.length === 4);
  expect(asked).toEqual([layer.rangeOf(0).offset, layer.rangeOf(1).offset]);
  await close();
});

test('where the disk is full chunks are handed out without being stored, never as zeros', async () => {
  const { descriptor, device } = await makeLayer('containerd');
  const delivered: Buffer[] = [];
  const { layer, close } = await openLazy(descriptor, [right], {
    fuse: {
      stored: () => expect.unreachable('the disk is full'),
      delivered: (_node, _chunk, bytes) => delivered.push(Buffer.from(bytes)),
      failed: () => expect.unreachable('the network is fine'),
    },
  });
  layer.store.fill = layer.store.write = () =>
    Promise.reject(failure('NO_SPACE', 'data', 'the disk is full'));
  const bytes = await layer.asSource(device.length).read(60_000, 100_000);
  expect(bytes.equals(device.subarray(60_000, 160_000))).toBe(true);
  missing(layer, 5);
  await until(() => delivered.length === 4);
  expect(delivered[3]!.equals(device.subarray(5 * 65_536, 6 * 65_536))).toBe(true);
  expect(layer.store.count).toBe(0);
  await close();
});

test('a mount does not wait for a place that is away, a reader does for --io-timeout', async () => {
  const { descriptor } = await makeLayer('containerd');
  const { layer, close } = await openLazy(descriptor, [right], {
    ioTimeout: 1500,
    // eslint-disable-next-line require-yield
    async *stream() {
      throw failure('IO', 'blob', 'nobody is there');
    },
  });
  missing(layer, 1);
  await expect(layer.fetchNow(0, 2)).rejects.toMatchObject({ code: 'IO', why: 'nobody is there' });
  expect(failed).toEqual([]);
  await until(() => failed.length === 1);
  expect([failed, stored]).toEqual([[1], []]);
  await close();
});

const mebibyte = 1 << 20;

test.each([
  ['stored', randomBytes(20 * mebibyte).toString('latin1'), {}],
  ['decoded', 'text '.repeat(4 * mebibyte), {}],
  ['raw', randomBytes(20 * mebibyte).toString('latin1'), { noCompress: true }],
])(
  'a chunk that is too large for memory is checked, and comes by the disk: %s',
  async (_what, content, more) => {
    const profile = 'noCompress' in more ? 'erofs-image-spec' : 'containerd';
    const { descriptor, device } = await makeLayer(profile, content, { ...more, chunkSize: 64 * mebibyte });
    let isWrong = true;
    const spoil: Spoil = (bytes, offset) => {
      if (isWrong) wrongAt(1000)(bytes, offset);
    };
    const { layer, chunks, close } = await openLazy(descriptor, [spoil]);
    expect(chunks.frameCount).toBe(1);
    const spied = vi.spyOn(native, 'decodeFrame');
    await expect(layer.fetchNow(0, 1)).rejects.toMatchObject({ code: 'MISMATCH' });
    expect([layer.store.has(0), failed]).toEqual([false, [0]]);
    isWrong = false;
    await layer.fetchNow(0, layer.store.chunks);
    expect(spied).not.toHaveBeenCalled();
    spied.mockRestore();
    await close();
    expect((await readFile(at('data'))).equals(device)).toBe(true);
    expect((await readdir(folder)).sort()).toEqual([
      'blob',
      'data',
      'device',
      'device.dmverity',
      'digests',
      'layer.tar',
    ]);
  },
);

test('a chunk that is too large for memory can not be had on a full disk, and its readers are told at once', async () => {
  const { descriptor } = await makeLayer('containerd', 'text '.repeat(4 * mebibyte), {
    chunkSize: 64 * mebibyte,
  });
  const warnings: string[] = [];
  const onWarning = (line: string) => void warnings.push(line);
  const { layer, close } = await openLazy(descriptor, [right], { onWarning });
  const inflating = vi
    .spyOn(native, 'inflateFrame')
    .mockRejectedValue(failure('NO_SPACE', 'data', 'no space'));
  missing(layer, 0);
  await until(() => failed.length > 0);
  expect([layer.store.has(0), failed, warnings.length]).toEqual([false, [0], 1]);
  inflating.mockRestore();
  await layer.fetchNow(0, 1);
  expect(layer.store.has(0)).toBe(true);
  await close();
});

test('a layer that is closed while chunks come says nothing of its disk, and gives nothing out any more', async () => {
  const { descriptor, device } = await makeLayer('containerd');
  const warnings: string[] = [];
  const { layer, blob, close } = await openLazy(descriptor, [right], {
    onWarning: (line) => warnings.push(line),
  });
  const { store } = layer;
  const fill = store.fill.bind(store);
  const begun = vi.fn();
  const closing = vi.spyOn(store, 'close');
  store.fill = async (...args) => {
    begun();
    while (closing.mock.calls.length === 0) await sleep(1);
    return fill(...args);
  };
  missing(layer, 0);
  await until(() => begun.mock.calls.length === 1);
  await close();
  const refused = { code: 'CANCELLED' };
  await expect(layer.fetchNow(2, 3)).rejects.toMatchObject(refused);
  await expect(layer.asSource(device.length).read(0, 10)).rejects.toMatchObject(refused);
  await expect(checkComplete({ diffId: '' } as never, { blob, store })).rejects.toMatchObject(refused);
  await sleep(10);
  expect([warnings, stored, failed]).toEqual([[], [], []]);
});
