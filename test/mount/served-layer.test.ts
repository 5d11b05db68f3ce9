import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isAnswered, servedBy } from '../../src/mount/served-layer';

const key = 'a'.repeat(64);
let folder: string;
let layers: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'served-'));
  layers = join(folder, 'lazy/layers');
  mkdirSync(layers, { recursive: true });
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A state folder whose record of the layer is this. */
const stateWith = (record: object | 'lost' | null) =>
  ({ folder, readLayer: () => Promise.resolve(record) }) as never;
const lazy = (served?: number) => ({ files: [join(layers, key)], served });

test('a layer is read from the FUSE mount that is there now, or from one that is gone', async () => {
  const { dev } = statSync(layers);
  expect(await isAnswered(stateWith(lazy(dev)), key)).toBe(true);
  expect(await isAnswered(stateWith(lazy(dev + 1)), key)).toBe(false);
  rmSync(layers, { recursive: true });
  expect(await isAnswered(stateWith(lazy(dev)), key)).toBe(false);
});

test('a layer that is on the disk, or of which nothing is known, needs no server', async () => {
  expect(await isAnswered(stateWith(null), key)).toBe(true);
  expect(await isAnswered(stateWith('lost'), key)).toBe(true);
  expect(await isAnswered(stateWith(lazy()), key)).toBe(true);
  expect(await isAnswered(stateWith({ files: [join(folder, 'content/image')], served: 1 }), key)).toBe(true);
  expect(await servedBy(join(folder, 'content/image'))).toBeUndefined();
  expect(await servedBy(join(layers, key))).toBe(statSync(layers).dev);
});
