import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { writeAtomically } from '../../src/fs/atomic-file';
import { LayerList, readLayers } from '../../src/lazy/layer-list';
import type { LazyLayerRequest } from '../../src/lazy/messages';

vi.mock('../../src/fs/atomic-file', { spy: true });

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layer-list-'));
  path = join(folder, 'layers.json');
  vi.mocked(writeAtomically).mockClear();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const layers = (count: number): LazyLayerRequest[] =>
  Array.from({ length: count }, (_, i) => ({ key: `${i}` }) as LazyLayerRequest);

test('who asks while a list is being written shares the next one, which has what is in use by then', async () => {
  let count = 1;
  const current = vi.fn(() => Promise.resolve(layers(count)));
  const list = new LayerList(path, current);
  let endFirst!: () => void;
  const first = new Promise<void>((resolve) => (endFirst = resolve));
  vi.mocked(writeAtomically).mockImplementationOnce(() => first);
  const saves = [list.save()];
  await vi.waitFor(() => {
    expect(writeAtomically).toHaveBeenCalledTimes(1);
  });
  for (; count < 20; count++) saves.push(list.save());
  endFirst();
  await Promise.all(saves);
  expect([vi.mocked(writeAtomically).mock.calls.length, current.mock.calls.length]).toEqual([2, 2]);
  expect(await readLayers(path)).toHaveLength(20);
});

test('what is on disk already is not written again', async () => {
  const list = new LayerList(path, () => Promise.resolve(layers(2)));
  await list.save();
  await list.save();
  expect(writeAtomically).toHaveBeenCalledTimes(1);
});

test('a list that could not be written is written by the next who asks', async () => {
  const list = new LayerList(path, () => Promise.resolve(layers(2)));
  vi.mocked(writeAtomically).mockRejectedValueOnce(new Error('full'));
  await expect(list.save()).rejects.toThrow('full');
  await list.save();
  expect(await readLayers(path)).toHaveLength(2);
});

test('no list is none in use; one of a newer server is refused', async () => {
  expect(await readLayers(path)).toEqual([]);
  await writeFile(path, '{"version":99,"layers":[]}');
  await expect(readLayers(path)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});
