import { chown, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { decodeBlob, encodeLayer } from '../../src';
import { acquireLock } from '../../src/fs/lock';
import { storeLock } from '../../src/lazy/cache-room';
import { gatherLayer } from '../../src/lazy/gather-layer';
import { mountKey } from '../../src/lazy/layer-key';
import { LazyFolder } from '../../src/lazy/lazy-folder';
import type { LazyLayerRequest } from '../../src/lazy/messages';
import type { SourceStore } from '../../src/oci/store';
import { openFileSource } from '../../src/source/file';
import { noise } from '../e2e/sample';
import { rootOnly, titleOf } from '../conformance/support/machine';
import { refusal } from '../support/refusal';
import { tarBytes } from '../support/tar-bytes';

let root: string;
let folder: LazyFolder;
let fetched: number;
let warnings: string[];
const at = (name: string): string => join(root, name);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gather-layer-'));
  folder = await LazyFolder.open(at('state'));
  [fetched, warnings] = [0, []];
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** A layer of ten files, of which one is `changed`, and one is there twice. */
async function makeLayer(changed = '3') {
  const entries = Array.from({ length: 10 }, (_, i) => ({
    name: `file-${i}`,
    content: noise(70_000, i === 3 ? changed : `${i % 9}`).toString('latin1'),
  }));
  const [tar, blob, image] = ['tar', `blob-${changed}`, `image-${changed}`].map(at);
  await writeFile(tar!, tarBytes(entries));
  const options = {
    profile: 'erofs-image-spec',
    chunking: 'files',
    chunkSize: 65_536,
    dmVerity: true,
  } as const;
  const { diffId, ...descriptor } = await encodeLayer(tar!, blob!, options);
  await decodeBlob(blob!, image!, { descriptor });
  const key = mountKey({ diffId, rootDigest: null, extra: [], files: [] });
  const request: LazyLayerRequest = {
    key,
    diffId,
    descriptor,
    index: null,
    withTree: false,
    source: 'docker://registry.example/image',
    mirrors: [],
    access: {},
    allowUnverified: false,
    vouchers: ['somebody'],
  };
  return { request, blob: blob!, image: await readFile(image!), size: descriptor.size };
}
type Layer = Awaited<ReturnType<typeof makeLayer>>;

/** A store that has one blob, and may spoil what is read of it. */
function storeOf(
  blob: string,
  spoil: (bytes: Buffer, offset: number) => void = () => undefined,
): SourceStore {
  const openBlob: SourceStore['openBlob'] = async () => {
    const file = await openFileSource(blob);
    const read: typeof file.read = async (offset, length, signal) => {
      const bytes = Buffer.from(await file.read(offset, length, signal));
      fetched += length;
      spoil(bytes, offset);
      return bytes;
    };
    return { name: 'blob', size: file.size, read, close: () => file.close() };
  };
  return { name: 'store', openBlob } as SourceStore;
}

const gather = async ({ request, blob }: Layer, more: Partial<Parameters<typeof gatherLayer>[1]> = {}) => {
  fetched = 0;
  const onWarning = (line: string): void => void warnings.push(line);
  return gatherLayer(request, { folder, from: storeOf(blob), onWarning, ...more });
};
/** Whether the decoded layer is the image, with its tree behind it; rejects when there is none. */
const isPublished = async ({ request, image }: Layer): Promise<boolean> => {
  const bytes = await readFile(join(folder.cachePlaces.content, request.key, 'image'));
  return bytes.subarray(0, image.length).equals(image);
};
const fileOf = ({ request }: Layer, name: string): string => join(folder.storeOf(request.key), name);

test('of a layer, only the chunks are fetched that no other one has, and it is a decoded layer then', async () => {
  const [old, next] = [await makeLayer(), await makeLayer('other')];
  expect(await gather(old)).toBe(true);
  expect(fetched).toBeGreaterThan(old.size - 70_000); // the last file is the first once more
  expect(await isPublished(old)).toBe(true);
  expect(await gather(next)).toBe(true);
  // A file, metadata, the tree, and windows in which tables are found.
  expect(fetched).toBeLessThan(100_000);
  expect(await isPublished(next)).toBe(true);
  expect(warnings).toEqual([]);
});

test('one that was ended leaves no layer, and the next one makes it', async () => {
  const layer = await makeLayer();
  const stop = new AbortController();
  const from = storeOf(layer.blob, (_, offset) => {
    if (offset < layer.size / 2) stop.abort();
  });
  await expect(gather(layer, { from, signal: stop.signal })).rejects.toThrow(refusal('CANCELLED', ''));
  await expect(isPublished(layer)).rejects.toThrow('ENOENT');
  expect(await gather(layer)).toBe(true);
  expect(await isPublished(layer)).toBe(true);
});

const spoilers: [string, (old: Layer, next: Layer) => Promise<void>][] = [
  [
    'was changed',
    async (old) => {
      const data = await readFile(fileOf(old, 'data'));
      for (let i = 7; i < data.length; i += 4096) data[i]! ^= 1;
      await writeFile(fileOf(old, 'data'), data);
    },
  ],
  ['was cut short', (old) => writeFile(fileOf(old, 'data'), Buffer.alloc(100))],
  ['lost its data', (old) => rm(fileOf(old, 'data'))],
  ['lost its digests', (old) => writeFile(fileOf(old, 'digests'), Buffer.alloc(0))],
  [
    'has other chunks with the same first bytes of a checksum',
    async (old) => {
      const list = await readFile(fileOf(old, 'chunks-1'));
      for (let at = 16 + 6; at < list.length; at += 48) list[at]! ^= 1;
      await writeFile(fileOf(old, 'chunks-1'), list);
    },
  ],
  [
    "is a link to somebody else's",
    async (old) => {
      await rename(folder.storeOf(old.request.key), at('elsewhere'));
      await symlink(at('elsewhere'), folder.storeOf(old.request.key));
    },
  ],
];
test.each(spoilers)('of a store that %s nothing is taken', async (_, spoil) => {
  const [old, next] = [await makeLayer(), await makeLayer('other')];
  await gather(old);
  await spoil(old, next);
  expect(await gather(next)).toBe(true);
  expect(fetched).toBeGreaterThan(next.size - 70_000);
  expect(await isPublished(next)).toBe(true);
});

test.skipIf(rootOnly !== null)(titleOf("of another user's store nothing is taken", rootOnly), async () => {
  const [old, next] = [await makeLayer(), await makeLayer('other')];
  await gather(old);
  await chown(folder.storeOf(old.request.key), 65_534, 65_534);
  expect(await gather(next)).toBe(true);
  expect(fetched).toBeGreaterThan(next.size - 70_000);
});

test('a store that lies, with right digests of other bytes, leads to no wrong layer', async () => {
  const [old, next] = [await makeLayer(), await makeLayer('other')];
  await gather(old);
  // Two files of the same length change places in its list.
  const list = await readFile(fileOf(old, 'chunks-1'));
  const digests = await readFile(fileOf(old, 'digests'));
  const count = list.readUInt32LE(12);
  const lengths = Array.from({ length: count }, (_, i) => Number(list.readBigUInt64LE(16 + 48 * i + 40)));
  const [a, b] = lengths.flatMap((length, i) => (length === 65_536 ? [i] : []));
  const names = [a!, b!].map((i) => Buffer.from(list.subarray(16 + 48 * i, 16 + 48 * i + 32)));
  names[1]!.copy(list, 16 + 48 * a!);
  names[0]!.copy(list, 16 + 48 * b!);
  await writeFile(fileOf(old, 'chunks-1'), list);
  expect(digests.length).toBe(16 * count);
  expect(await gather(next)).toBe(false);
  expect(warnings.join()).toMatch(/DiffID.*fetched as a whole/);
  await expect(isPublished(next)).rejects.toThrow('ENOENT');
});

test('wrong bytes of a registry are stored nowhere', async () => {
  const layer = await makeLayer();
  const from = storeOf(layer.blob, (bytes, offset) => {
    if (offset < layer.size / 2) bytes[5]! ^= 1;
  });
  expect(await gather(layer, { from })).toBe(false);
  await expect(isPublished(layer)).rejects.toThrow('ENOENT');
  expect(await gather(layer)).toBe(true);
  expect(await isPublished(layer)).toBe(true);
});

test('a layer whose store is in use is read as a whole', async () => {
  const layer = await makeLayer();
  const lock = await acquireLock(storeLock(folder.storeOf(layer.request.key)));
  expect(await gather(layer)).toBe(false);
  expect(fetched).toBe(0);
  await lock.release();
});

test('a store without the chunk does not stand before one that has it', async () => {
  const [old, next] = [await makeLayer(), await makeLayer('other')];
  await gather(old);
  // As of a lazy layer that was hardly read, used later than the other.
  const empty = folder.storeOf('f'.repeat(64));
  await mkdir(empty, { mode: 0o700 });
  await writeFile(join(empty, 'chunks-1'), await readFile(fileOf(old, 'chunks-1')));
  await writeFile(join(empty, 'digests'), Buffer.alloc((await readFile(fileOf(old, 'digests'))).length));
  expect(await gather(next)).toBe(true);
  expect(fetched).toBeLessThan(100_000);
});
