import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/format/digest';
import { parseIndex, readManifest } from '../../../src/oci/manifest';
import type { Descriptor } from '../../../src/oci/types';
import { LayoutDestination, openLayoutSource } from '../../../src/store/layout/layout';
import { writeImage } from '../sample-image';

let folder: string;
let layout: string;
const cache = mkdtempSync(join(tmpdir(), 'layout-cache-'));
afterAll(() => {
  rmSync(cache, { recursive: true });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layout-processes-'));
  layout = join(folder, 'image');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function start(script: string, ...args: string[]) {
  const runner = join(__dirname, '..', '..', 'support', 'run-ts.mjs');
  return spawn(process.execPath, [runner, cache, join(__dirname, script), layout, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const startWriter = (prefix: string, count: number) => start('layout-writer.ts', prefix, String(count));

/** Runs a writer that is killed when it is about to give a file this name. */
async function writeKilledAt(name: string, seed = 'killed'): Promise<void> {
  const writer = start('layout-killed.ts', seed, name);
  writer.stdout.resume();
  expect(await once(writer, 'close')).toEqual([null, 'SIGKILL']);
}

const blobNames = (): string[] => readdirSync(join(layout, 'blobs', 'sha256')).sort();

async function write(seed: string): Promise<Descriptor> {
  const store = await LayoutDestination.open(layout);
  const descriptor = await writeImage(store, seed);
  await store.setReference(seed, descriptor);
  await store.close();
  return descriptor;
}

/** The names in the layout, after a check that every image is whole and every blob is what it is called. */
async function checkedNames(): Promise<string[]> {
  const source = await openLayoutSource(layout);
  const index = parseIndex(readFileSync(join(layout, 'index.json')), 'index.json');
  for (const entry of index.manifests) {
    const document = await readManifest(source, entry);
    if (document.kind !== 'manifest') throw new Error('an index');
    await source.readJson(document.manifest.config);
    for (const layer of document.manifest.layers) await (await source.openBlob(layer)).close();
  }
  const blobs = join(layout, 'blobs', 'sha256');
  for (const name of readdirSync(blobs))
    expect(digestOf(readFileSync(join(blobs, name)))).toBe(`sha256:${name}`);
  return index.manifests.map((entry) => entry.annotations!['org.opencontainers.image.ref.name']!).sort();
}

describe('processes that write one layout', () => {
  it('take turns: no reference is lost', async () => {
    const count = 10;
    const writers = ['a', 'b', 'c'].map((prefix) => startWriter(prefix, count));
    for (const writer of writers) writer.stdout.resume();
    const codes = await Promise.all(writers.map((writer) => once(writer, 'close')));
    expect(codes.map(([code]) => code as number)).toEqual([0, 0, 0]);
    const expected = ['a', 'b', 'c'].flatMap((prefix) =>
      Array.from({ length: count }, (_, i) => `${prefix}${i}`),
    );
    expect(await checkedNames()).toEqual(expected.sort());
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('leave a valid layout when they are killed, and the next writer cleans up', async () => {
    const kills = 8;
    let left = 0;
    for (let round = 0; round < kills; round++) {
      const writer = startWriter(`r${round}-`, 1_000_000);
      const closed = once(writer, 'close');
      let done = 0;
      const lines = new Promise<void>((resolve) => {
        writer.stdout.on('data', (text: Buffer) => {
          done += text.toString().split('\n').length - 1;
          resolve();
        });
      });
      // The first kill may hit a layout that is being made; the later ones hit one that works.
      await Promise.race([lines, round === 0 ? sleep(10_000) : lines]);
      await sleep(Math.random() * 60);
      writer.kill('SIGKILL');
      await closed;
      const names = await checkedNames();
      expect(names.filter((name) => name.startsWith(`r${round}-`)).length).toBeGreaterThanOrEqual(done);
      const entries = readdirSync(layout).sort();
      if (entries[0] === '.seekable-erofs') left++;
      expect(entries.filter((name) => name !== '.seekable-erofs')).toEqual([
        'blobs',
        'index.json',
        'oci-layout',
      ]);
    }
    // Else no kill hit a writer at work, and nothing was tested.
    expect(left).toBeGreaterThan(0);
    const next = await LayoutDestination.open(layout);
    await next.close();
    expect(existsSync(join(layout, '.seekable-erofs'))).toBe(false);
  });

  it('that are killed between the blobs and index.json leave no blob that nothing leads to', async () => {
    await write('first');
    const before = blobNames();
    await writeKilledAt('index.json');
    expect(blobNames().length).toBe(before.length + 4); // all but the shared layer
    await (await LayoutDestination.open(layout)).abort();
    expect(blobNames()).toEqual(before);
    await checkedNames();
  });

  it('that are killed before a new layout is one leave nothing', async () => {
    await writeKilledAt('oci-layout');
    expect(existsSync(join(layout, 'index.json'))).toBe(true);
    await (await LayoutDestination.open(layout)).close();
    expect(readdirSync(layout)).toEqual([]);
  });

  it('that are killed leave what an image leads to by the time of the cleaning up', async () => {
    await write('first');
    const living = await LayoutDestination.open(layout);
    await writeKilledAt('index.json');
    await living.setReference('v1', await writeImage(living, 'killed'));
    await living.close();
    const before = blobNames();
    await (await LayoutDestination.open(layout)).close();
    expect(blobNames()).toEqual(before);
    expect(await checkedNames()).toEqual(['first', 'v1']);
  });

  it('count on blobs that they saw, also when those are removed before they have a reference', async () => {
    await write('first');
    const living = await LayoutDestination.open(layout);
    await writeKilledAt('index.json');
    const { image, blobs } = await imageOf('killed');
    for (const blob of blobs) expect(await living.has(blob)).toBe(true);
    await (await LayoutDestination.open(layout)).close();
    expect(blobNames()).toHaveLength(5);
    await living.setReference('v1', image);
    await living.close();
    expect(blobNames()).toHaveLength(9);
    expect(await checkedNames()).toEqual(['first', 'v1']);
  });
});

/** The descriptor of what writeImage() makes of `seed`, and its manifest. */
async function imageOf(seed: string) {
  const other = await LayoutDestination.open(join(folder, 'other'));
  const image = await writeImage(other, seed);
  await other.setReference('v1', image);
  await other.close();
  const source = await openLayoutSource(join(folder, 'other'));
  const document = await readManifest(source, image);
  if (document.kind !== 'manifest') throw new Error('an index');
  return { image, blobs: [document.manifest.config, ...document.manifest.layers, image] };
}
