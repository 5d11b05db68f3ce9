import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LayoutDestination, openLayoutSource } from '../../../src/store/layout/layout';
import { checkCleanLayout } from '../../conformance/support/layout-check';
import { refusal } from '../../support/refusal';
import { writeImage } from '../sample-image';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, rename: vi.fn(real.rename) };
});

let folder: string;
let layout: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layout-rollback-'));
  layout = join(folder, 'image');
});
afterEach(() => {
  vi.mocked(rename).mockReset();
  rmSync(folder, { recursive: true });
});

/** From now on, no file gets this name. */
async function refuseName(name: string): Promise<void> {
  const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  vi.mocked(rename).mockImplementation(async (from, to) => {
    if (basename(to as string) === name)
      throw Object.assign(new Error('no space'), { code: 'ENOSPC', errno: -28 });
    await real.rename(from, to);
  });
}

/** What others see of the layout: the workspace is its writers' own. */
const visible = (): string[] =>
  readdirSync(layout, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.startsWith('.seekable-erofs'))
    .sort();

test.each(['index.json', 'oci-layout'])('a new layout that gets no %s has no blobs either', async (name) => {
  const store = await LayoutDestination.open(layout);
  const image = await writeImage(store, 'one');
  await refuseName(name);
  await expect(store.setReference('one', image)).rejects.toThrow(refusal('NO_SPACE'));
  expect(visible()).toEqual([]);
  vi.mocked(rename).mockReset();
  await store.setReference('one', image);
  await store.close();
  expect(checkCleanLayout(layout)).toEqual(['one']);
});

test('a layout that gets no new index.json is as it was, and takes the image later', async () => {
  const first = await LayoutDestination.open(layout);
  await first.setReference('one', await writeImage(first, 'one'));
  await first.close();
  const before = visible();
  const index = readFileSync(join(layout, 'index.json'));
  const store = await LayoutDestination.open(layout);
  const image = await writeImage(store, 'two');
  await refuseName('index.json');
  await expect(store.setReference('two', image)).rejects.toThrow(refusal('NO_SPACE'));
  expect(visible()).toEqual(before);
  expect(readFileSync(join(layout, 'index.json')).equals(index)).toBe(true);
  vi.mocked(rename).mockReset();
  await store.setReference('two', image);
  await store.close();
  expect((await (await openLayoutSource(layout)).resolve('two')).digest).toBe(image.digest);
  expect(visible().length).toBeGreaterThan(before.length);
});

test('a blob that can not be moved takes back those that were', async () => {
  const store = await LayoutDestination.open(layout);
  const image = await writeImage(store, 'one');
  await refuseName(image.digest.slice(7));
  await expect(store.setReference('one', image)).rejects.toThrow(refusal('NO_SPACE'));
  expect(visible()).toEqual([]);
  await store.abort();
  expect(readdirSync(folder)).toEqual([]);
});
