import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { failure } from '../../src/errors';
import { LayerUpkeep } from '../../src/lazy/layer-upkeep';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'upkeep-'));
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

/** A layer of which all chunks are looked at by `checkAll`. */
const layerWith = (checkAll: () => Promise<boolean>) => ({
  request: { key: 'key' },
  opened: { store: { checkAll } },
  wasChecked: false,
});

test('a layer that is closed while its chunks are compared ends nothing: the next one is looked at', async () => {
  const closed = layerWith(() =>
    Promise.reject(failure('CANCELLED', 'data', 'the layer is not served any more')),
  );
  const looked = vi.fn(() => Promise.resolve(false));
  const warnings: string[] = [];
  const layers = {
    open: [],
    all: () => Promise.resolve([closed, layerWith(looked)]),
  };
  const upkeep = new LayerUpkeep({
    folder: { cachePlaces: { state: folder, content: join(folder, 'content') } },
    layers,
    queue: {},
    backgroundRate: 0,
    cacheLimits: {},
    onWarning: (line: string) => warnings.push(line),
  } as never);
  upkeep.start();
  await vi.advanceTimersByTimeAsync(1000);
  await vi.waitFor(() => {
    expect(looked).toHaveBeenCalled();
  });
  upkeep.stop();
  await upkeep.makeLastRoom();
  expect(warnings).toEqual([]);
});
