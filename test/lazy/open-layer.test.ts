import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeLayer } from '../../src';
import type { LayerSources } from '../../src/lazy/layer-sources';
import { openLayer } from '../../src/lazy/open-layer';
import { openFileSource } from '../../src/source/file';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'open-layer-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Opens a layer with a table of some 70 KB; what was read of its blob. */
async function readsOf(choices: Parameters<typeof encodeLayer>[2]): Promise<[number, number][]> {
  await writeFile(
    at('layer.tar'),
    tarBytes([{ name: 'noise', content: randomBytes(1 << 21).toString('hex') }]),
  );
  const descriptor = await encodeLayer(at('layer.tar'), at('blob'), {
    chunkSize: 4096,
    ...choices,
  });
  const file = await openFileSource(at('blob'));
  const reads: [number, number][] = [];
  const source = {
    name: 'blob',
    place: 'here',
    size: file.size,
    close: () => file.close(),
    read: (offset: number, length: number) => {
      reads.push([offset, length]);
      return file.read(offset, length);
    },
  };
  const sources = { open: () => Promise.resolve([source]), readIndex: () => Promise.resolve(undefined) };
  const { store } = await openLayer(
    at('store'),
    {
      key: 'key',
      diffId: descriptor.diffId,
      withTree: false,
      descriptor,
      index: null,
      source: 'blob',
      mirrors: [],
      access: {},
      allowUnverified: false,
    },
    sources as unknown as LayerSources,
    { onWarning: (line) => expect.unreachable(line) },
  );
  await store.close();
  await file.close();
  return reads;
}

test.each([
  ['alone', {}],
  ['with a tree behind it', { dmVerity: true }],
])('a large table is one request: %s', async (_what, choices) => {
  expect(await readsOf(choices)).toHaveLength(1);
});
