import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { at } from '../e2e/workspace';
import { again } from '../support/rounds';
import {
  compareByFour,
  digests,
  dropCaches,
  files,
  killAll,
  lazyOf,
  mount,
  processesOf,
  read,
  readAll,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from '../conformance/support/lazy-image';
import { titleOf } from '../conformance/support/machine';
import { state, useMounts } from '../conformance/support/mounting';
import { noteReading } from './support/figures';
import { mountEager, Readers, umountEager } from './support/readers';

// The claim: a store that is full, was set back by a crash or damaged costs fetching, and never a byte.

useMounts();

const reason = whyNoLazyMounts();

/** The store of the layer with the noise: the largest. */
function storeOfNoise(): string {
  const stores = join(state, 'content/lazy');
  const data = readdirSync(stores)
    .map((name) => join(stores, name, 'data'))
    .filter(existsSync);
  return dirname(data.toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!);
}

/** Puts copies in the place of files of a store. Decoded layers go: mounts would take those. */
function setBack(copies: Record<string, string>): void {
  const store = storeOfNoise();
  for (const [name, copy] of Object.entries(copies)) cpSync(copy, join(store, name));
  const content = join(state, 'content');
  for (const key of readdirSync(content)) if (key !== 'lazy') rmSync(join(content, key), { recursive: true });
}

/** What was read is lasting. */
async function synced(): Promise<void> {
  const isThere = (): number[] => {
    const digests = readFileSync(join(storeOfNoise(), 'digests'));
    return [...Array(digests.length / 16).keys()].filter((i) => digests.readBigUInt64LE(i * 16) !== 0n);
  };
  await vi.waitFor(
    async () => {
      expect(isThere()).toHaveLength((await lazyOf()).present);
    },
    { timeout: 20_000 },
  );
}

const below = (limit: number): number => Math.floor(Math.random() * limit);
const parts = ['data', 'digests'] as const;

describe.skipIf(reason !== null)(titleOf('stores of lazy mounts', reason), () => {
  useLazyImage();

  test('a disk that is full: everything is served, what has no room is not stored', again(5), async () => {
    execFileSync('mkdir', ['-p', state]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'small', state]);
    await mount('--io-timeout', '20');
    const servers = processesOf('server-main');
    expect(await readAll()).toEqual(digests);
    dropCaches();
    await compareByFour();
    await sleep(1500); // stores are synced each second
    const { present, chunks } = await lazyOf();
    expect(present).toBeLessThan(chunks);
    expect(processesOf('server-main')).toEqual(servers); // nor did any of it end the server
    await umount();
  });

  test.each([
    ['data and digests', ['data', 'digests'], { before: 8, after: 24 }],
    ['digests alone', ['digests'], { before: 8, after: 24 }],
    ['data alone, since the last sync', ['data'], { before: 8, after: 8 }],
    ['data alone, of which digests are synced', ['data'], { before: 0, after: 24 }],
  ] as const)('set back: %s', again(10), async (_what, names, { before, after }) => {
    await mount();
    for (const name of files.slice(0, before)) await read(name);
    if (after === before) await synced();
    for (const name of names) cpSync(join(storeOfNoise(), name), at(name));
    for (const name of files.slice(before, after)) await read(name);
    await synced();
    killAll();
    await umount();
    setBack(Object.fromEntries(names.map((name) => [name, at(name)])));
    await mount();
    await compareByFour();
    await umount();
  });

  test('set back: data and digests each to a moment of its own', again(40), async () => {
    await mount();
    const moments = 6;
    for (let i = 0; i < moments; i++) {
      for (let n = below(4); n >= 0; n--) await read(files[below(files.length)]!);
      await sleep(below(600));
      for (const part of parts) cpSync(join(storeOfNoise(), part), at(`${part}-${i}`));
    }
    killAll();
    await umount();
    setBack(Object.fromEntries(parts.map((part) => [part, at(`${part}-${below(moments)}`)])));
    await mount();
    await compareByFour();
    await umount();
  });

  test(
    'eight readers at random, the background on and the caches dropped: as in an eager mount',
    again(5),
    async (context) => {
      const eager = await mountEager();
      await mount('--background', 'auto');
      const readers = await Readers.start(eager, { ioTimeout: 60, count: 8 });
      for (let i = 0; i < 20; i++) {
        dropCaches();
        await sleep(100);
      }
      noteReading(context, await readers.finish());
      await umount();
      await umountEager();
    },
  );
});
