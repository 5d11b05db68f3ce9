import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CachedImages } from '../../../src/lazy/erofs-cache/cached-images';
import type { LazyFolder } from '../../../src/lazy/lazy-folder';
import type { LazyLayerRequest } from '../../../src/lazy/messages';
import type { ServedLayer, ServedLayers } from '../../../src/lazy/served-layers';
import type { NativeFuseServer } from '../../../src/native/fuse-server';
import { caught } from '../../support/caught';

// Which layers a cache shows, and for how long; the layers themselves, and the FUSE mount, are played.

const diffId = (letter: string): string => `sha256:${letter.repeat(64)}`;
const layer = (letter: string, name = diffId(letter)) => ({
  name,
  request: {
    key: letter.repeat(64),
    diffId: diffId(letter),
    source: `docker://registry.example/${letter}`,
  } as LazyLayerRequest,
});

let folder: string;
let served: Map<string, ServedLayer>;
let opened: Map<string, number>;
let names: Map<string, number>;
let warnings: string[];
let images: CachedImages;

function start(keep?: number): CachedImages {
  served = new Map();
  names = new Map();
  const layers = {
    hold: async (request: LazyLayerRequest, holder: string) => {
      if (request.key.startsWith('f')) throw new Error('the registry does not have it');
      const known = served.get(request.key) ?? {
        request,
        answer: { path: '', size: 1, verity: null },
        holders: new Set<string>(),
        layer: { counts: () => ({ chunks: 3, present: 1 }) } as unknown as ServedLayer['layer'],
      };
      known.holders.add(holder);
      served.set(request.key, known as unknown as ServedLayer);
    },
    release: async (keys: string[], holder: string) => {
      for (const key of keys) {
        served.get(key)?.holders.delete(holder);
        if (served.get(key)?.holders.size === 0) served.delete(key);
      }
    },
    all: async () => [...served.values()],
    openedOf: ({ request }: ServedLayer) => opened.get(request.key) ?? 0,
  };
  const fuse = {
    addFolder: () => undefined,
    add: () => undefined,
    remove: () => undefined,
    link: (_: number, name: string, node: number) => void names.set(name, node),
    unlink: (_: number, name: string) => void names.delete(name),
  };
  return new CachedImages({
    folder: {
      images: join(folder, 'images.json'),
      storeOf: (key: string) => join(folder, key),
    } as unknown as LazyFolder,
    layers: layers as unknown as ServedLayers,
    fuse: fuse as unknown as NativeFuseServer,
    keep,
    onWarning: (line) => warnings.push(line),
  });
}

const put = (reference: string, digest: string, ...layers: ReturnType<typeof layer>[]) =>
  images.put({ reference: `docker://registry.example/${reference}`, digest: diffId(digest), layers });
const references = async () => (await images.list()).map(({ reference }) => reference.split('/').at(-1));
const shown = () => [...names.keys()].map((name) => name[0]).sort();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cached-images-'));
  opened = new Map();
  warnings = [];
  images = start();
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a name belongs to who comes first: another layer for it is left out, with a warning', async () => {
  await put('one:v1', '1', layer('a'), layer('b'));
  const before = new Map(names);
  await put('other:v1', '2', layer('c', diffId('a')), layer('d'));
  expect([shown(), names.get(`${'a'.repeat(64)}.erofs`)]).toEqual([
    ['a', 'b', 'd'],
    before.get(`${'a'.repeat(64)}.erofs`),
  ]);
  expect(warnings).toEqual([expect.stringContaining('was here first and stays')]);
  expect(served.has('c'.repeat(64))).toBe(false);
  // It stays as long as the second image shows it, too.
  await images.remove('docker://registry.example/one:v1');
  expect(shown()).toEqual(['a', 'd']);
});

test('two at once that claim a name: the same', async () => {
  await Promise.all([put('one:v1', '1', layer('a')), put('other:v1', '2', layer('c', diffId('a')))]);
  expect([shown(), [...served.keys()], warnings.length]).toEqual([['a'], ['a'.repeat(64)], 1]);
});

test('what a tag named before stays under its digest', async () => {
  await put('app:v1', '1', layer('a'), layer('b'));
  await put('app:v1', '2', layer('a'), layer('c'));
  expect(await references()).toEqual(['app:v1', `app@${diffId('1')}`]);
  expect(shown()).toEqual(['a', 'b', 'c']);
  await images.remove(`docker://registry.example/app@${diffId('1')}`);
  expect([shown(), [...served.keys()].sort()]).toEqual([
    ['a', 'c'],
    ['a'.repeat(64), 'c'.repeat(64)],
  ]);
});

test('an image of which a layer can not be had leaves nothing, and changes nothing', async () => {
  await put('app:v1', '1', layer('a'));
  await expect(put('app:v1', '2', layer('a'), layer('f'))).rejects.toThrow('does not have it');
  expect([await references(), shown(), served.size]).toEqual([['app:v1'], ['a'], 1]);
});

test('a mounted image is not removed, unless another shows its layers as well', async () => {
  await put('app:v1', '1', layer('a'));
  opened.set('a'.repeat(64), 1);
  expect((await caught(() => images.remove('docker://registry.example/app:v1'))).why).toContain('is mounted');
  await put('other:v1', '2', layer('a'), layer('b'));
  await images.remove('docker://registry.example/app:v1');
  expect((await caught(() => images.remove('docker://registry.example/app:v1'))).code).toBe('NOT_FOUND');
  expect(shown()).toEqual(['a', 'b']);
});

test('images go that nothing has mounted and nobody asked for', async () => {
  images = start(10);
  await put('old:v1', '1', layer('a'));
  await put('mounted:v1', '2', layer('b'));
  await put('new:v1', '3', layer('c'));
  opened.set('b'.repeat(64), 1);
  const list = JSON.parse(readFileSync(join(folder, 'images.json'), 'utf8')) as {
    images: { lastUse: number }[];
  };
  for (const image of list.images.slice(0, 2)) image.lastUse -= 11 * 86_400_000;
  writeFileSync(join(folder, 'images.json'), JSON.stringify(list));
  images = start(10);
  await images.load();
  await images.tend(); // opens what is missing, first of all
  expect([await references(), shown()]).toEqual([
    ['mounted:v1', 'new:v1'],
    ['b', 'c'],
  ]);
  opened.clear();
  await images.tend();
  expect(await references()).toEqual(['mounted:v1', 'new:v1']); // it was mounted just now
});

test('a layer that turns out to be another takes its images with it', async () => {
  await put('app:v1', '1', layer('a'), layer('b'));
  await put('other:v1', '2', layer('b'));
  await images.onMisfit(served.get('a'.repeat(64))!);
  expect([await references(), shown()]).toEqual([['other:v1'], ['b']]);
});

test('a list of a later version is refused', async () => {
  writeFileSync(join(folder, 'images.json'), JSON.stringify({ version: 2, images: [] }));
  expect((await caught(() => images.load())).code).toBe('UNSUPPORTED');
});
