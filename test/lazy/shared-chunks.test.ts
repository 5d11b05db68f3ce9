import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { decodeBlob, encodeLayer } from '../../src';
import { ChunkList } from '../../src/lazy/chunk-list';
import { ChunkStore } from '../../src/lazy/chunk-store';
import { layerChunks, type LayerChunks } from '../../src/lazy/layer-chunks';
import { SharedChunks } from '../../src/lazy/shared-chunks';
import { openSeekable } from '../../src/layer/seekable';
import { native } from '../../src/native/binding';
import { openFileSource } from '../../src/source/file';
import { noise } from '../e2e/sample';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
const at = (name: string): string => join(folder, name);
/** Stores have names of 64 hexadecimal digits. */
const store = (digit: string): string => at(digit.repeat(64));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shared-chunks-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The chunks of a layer of ten files, of which one is `changed`, and its image. */
async function makeLayer(changed?: string) {
  const entries = Array.from({ length: 10 }, (_, i) => ({
    name: `file-${i}`,
    content: i === 3 && changed !== undefined ? changed : noise(70_000, `${i}`).toString('latin1'),
  }));
  await writeFile(at('tar'), tarBytes(entries));
  const options = { profile: 'erofs-image-spec', chunking: 'files', chunkSize: 65_536 } as const;
  const descriptor = await encodeLayer(at('tar'), at('blob'), options);
  const file = await openFileSource(at('blob'));
  const chunks = layerChunks(await openSeekable(file, { descriptor }), { withTree: false });
  await file.close();
  await decodeBlob(at('blob'), at('image'), { descriptor });
  return { chunks, image: await readFile(at('image')), list: ChunkList.of(chunks) };
}

/** A store with all chunks of an image. */
async function fillStore(path: string, chunks: LayerChunks, image: Buffer): Promise<void> {
  await mkdir(path, { recursive: true });
  const opened = await ChunkStore.open(path, chunks.starts);
  for (let chunk = 0; chunk < opened.chunks; chunk++)
    await opened.write(chunk, image.subarray(chunks.starts[chunk], chunks.starts[chunk + 1]));
  await opened.close();
  await ChunkList.of(chunks).save(path);
}

async function open() {
  const old = await makeLayer();
  await fillStore(store('a'), old.chunks, old.image);
  const { chunks, image, list } = await makeLayer(noise(70_000, 'changed').toString('latin1'));
  const bytesOf = (chunk: number): Buffer => image.subarray(chunks.starts[chunk], chunks.starts[chunk + 1]);
  return { old, chunks, list, bytesOf, frames: chunks.frameCount };
}

test('chunks that another store has are found by their checksums, and read', async () => {
  const { chunks, list, bytesOf, frames } = await open();
  const shared = (await SharedChunks.find(store('b'), list))!;
  const found = Array.from({ length: frames }, (_, chunk) => chunk).filter((chunk) => shared.has(chunk));
  // All but the metadata and the two chunks of the changed file.
  expect(found).toHaveLength(frames - 3);
  for (const chunk of found) expect((await shared.read(chunk))!.equals(bytesOf(chunk))).toBe(true);
  expect(shared.has(chunks.frameCount + 5)).toBe(false);
});

test('a chunk that is not what was stored is not taken, nor looked for again', async () => {
  const { list, frames, bytesOf } = await open();
  const shared = (await SharedChunks.find(store('b'), list))!;
  const data = await readFile(join(store('a'), 'data'));
  await writeFile(
    join(store('a'), 'data'),
    data.map((byte, i) => (i % 65_536 === 7 ? byte ^ 1 : byte)),
  );
  const wrong: number[] = [];
  for (let chunk = 0; chunk < frames; chunk++) {
    if (!shared.has(chunk)) continue;
    const bytes = await shared.read(chunk);
    if (bytes === null) wrong.push(chunk);
    else expect(bytes.equals(bytesOf(chunk))).toBe(true);
  }
  expect(wrong.length).toBeGreaterThan(3);
  expect(wrong.some((chunk) => shared.has(chunk))).toBe(false);
});

test.each<[string, (path: string) => Promise<void>]>([
  ['has no list', (path) => rm(join(path, 'chunks-1'))],
  [
    'has a list cut short',
    async (path) =>
      writeFile(join(path, 'chunks-1'), (await readFile(join(path, 'chunks-1'))).subarray(0, 100)),
  ],
  ['has a list of something else', (path) => writeFile(join(path, 'chunks-1'), Buffer.alloc(64))],
])('a store that %s has nothing for others', async (_, spoil) => {
  const { list } = await open();
  await spoil(store('a'));
  expect(await SharedChunks.find(store('b'), list)).toBeNull();
});

test('a store that lost its digests, its data or itself gives nothing', async () => {
  const { list, frames } = await open();
  for (const lose of [
    () => writeFile(join(store('a'), 'digests'), Buffer.alloc(16 * frames)),
    () => rm(join(store('a'), 'data')),
    () => rm(store('a'), { recursive: true }),
  ]) {
    const shared = (await SharedChunks.find(store('b'), list))!;
    await lose();
    for (let chunk = 0; chunk < frames; chunk++)
      if (shared.has(chunk)) expect(await shared.read(chunk)).toBeNull();
  }
});

test('a list that speaks of other bytes than its store has is not believed', async () => {
  const { list, old, frames } = await open();
  // Every chunk is said to be where its neighbour is.
  const bytes = await readFile(join(store('a'), 'chunks-1'));
  const starts = old.chunks.starts;
  for (let chunk = 0; chunk < old.chunks.frameCount; chunk++)
    bytes.writeBigUInt64LE(BigInt(starts[(chunk + 1) % old.chunks.frameCount]!), 16 + 48 * chunk + 32);
  await copyFile(join(store('a'), 'chunks-1'), at('kept'));
  await writeFile(join(store('a'), 'chunks-1'), bytes);
  const shared = (await SharedChunks.find(store('b'), list))!;
  for (let chunk = 0; chunk < frames; chunk++)
    if (shared.has(chunk)) expect(await shared.read(chunk)).toBeNull();
});

test('a list that is new waits for no disk: a mount waits for it', async () => {
  const { list } = await makeLayer();
  const folders = vi.spyOn(native.files, 'syncFolder');
  await mkdir(store('b'));
  await list.save(store('b'));
  expect(folders).not.toHaveBeenCalled();
  expect((await ChunkList.read(store('b')))?.count).toBe(list.count);
  folders.mockRestore();
});
