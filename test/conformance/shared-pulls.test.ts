import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import { tarBytes } from '../support/tar-bytes';
import { LayoutBuilder, digestOf, oci } from './support/image';
import { proxy, umount, useLazyMounts, whyNoLazyMounts } from './support/lazily';
import { titleOf } from './support/machine';
import { state } from './support/mounting';

// The claim: of an update, a machine that has the image before fetches what changed, and metadata and tables.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

/** Files by their names, in the order of the tar: bytes that no compressor makes smaller. */
type Release = Map<string, Buffer>;

/** Where the last test's images are. */
let number = 0;
beforeEach(() => {
  number++;
});

/** Converts an image of one layer, cut by files, to the registry; returns its reference. */
async function push(tag: string, release: Release, ...flags: string[]): Promise<string> {
  const entries = [...release].map(([name, content]) => ({ name, content: content.toString('latin1') }));
  const tar = tarBytes([{ name: './', type: '5', mode: 0o755 }, ...entries]);
  const builder = new LayoutBuilder(at(`${tag}.tars`));
  builder.name(builder.image([{ descriptor: builder.put(oci.tar, tar), diffId: digestOf(tar) }]));
  const reference = `docker://${proxy.host}/shared-${number}:${folder.split('/').at(-1)}-${tag}`;
  const chosen = ['--profile', 'erofs-image-spec', '--chunking', 'files', ...flags];
  await documentOf(['convert', `oci:${at(`${tag}.tars`)}:image`, reference, ...chosen]);
  await rm(at(`${tag}.tars`), { recursive: true });
  return reference;
}

async function delivered(work: () => Promise<unknown>): Promise<number> {
  const before = proxy.deliveries.length;
  await work();
  return proxy.deliveries.slice(before).reduce((sum, { bytes }) => sum + bytes, 0);
}

const mount = (reference: string, ...flags: string[]): Promise<MountResult> =>
  documentOf<MountResult>(['mount', reference, at('target'), '--verity', 'off', ...flags, '--state', state]);

/** Not by synchronous calls: the registry's proxy is in this process. */
async function expectFiles(release: Release): Promise<void> {
  const sha = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex');
  for (const [name, content] of release)
    expect(sha(await readFile(join(at('target'), name))) === sha(content), name).toBe(true);
}

/** What came of the registry while an image was mounted, all of its files were read, and it was unmounted. */
const pulled = {
  eagerly: (reference: string, release: Release): Promise<number> =>
    delivered(async () => {
      await mount(reference);
      await expectFiles(release);
      await documentOf(['umount', at('target'), '--state', state]);
    }),
  lazily: (reference: string, release: Release): Promise<number> =>
    delivered(async () => {
      await mount(reference, '--lazy', '--background', 'off');
      await expectFiles(release);
      await umount();
    }),
};

/** Files of the images here, and packages of small ones. */
const files = 3040;
const packages = 65;
/** Bytes of a table's entry, and more than inode and directory entry of a file take as they are stored. */
const entrySize = 80;
const inodeSize = 64;
/** What is read to find a table and its end: windows of 32 KiB. */
const opening = 5 * 32_768;

/** An image of `size` bytes, and an update of it: two programs, a package, a library, a file that is new and one that is gone. */
function releases(size: number): { before: Release; after: Release; changed: number } {
  const before: Release = new Map();
  const add = (name: string, i: number, count: number, share: number): void => {
    const spread = 0.1 + ((i * 7919) % 100) / 55;
    before.set(name, randomBytes(Math.round((spread * share * size) / count)));
  };
  for (let i = 0; i < packages * 40; i++) add(`share/${i % packages}/${i}`, i, packages * 40, 0.1);
  for (let i = 0; i < 400; i++) add(`lib/${i}`, i, 400, 0.4);
  for (let i = 0; i < 40; i++) before.set(`bin/${i}`, randomBytes(Math.round(size / 80)));
  const after: Release = new Map(before);
  let changed = 0;
  const change = (name: string, share: number): void => {
    const bytes = randomBytes(Math.round(before.get(name)!.length * share));
    after.set(name, bytes);
    changed += bytes.length;
  };
  for (const name of before.keys()) if (name.startsWith('share/12/')) change(name, 0.98);
  for (const name of ['bin/7', 'bin/8', 'lib/100']) change(name, 1.03);
  after.set('share/3/new', before.get('share/5/5')!.subarray(1));
  after.delete('share/50/50');
  return { before, after, changed };
}

/** Makes the list of a store say of its first two chunks of this length that each has the other's checksum. */
async function swapNames(path: string, length: number): Promise<void> {
  const list = await readFile(path);
  const entries = Array.from({ length: list.readUInt32LE(12) }, (_, i) => 16 + 48 * i);
  const [one, other] = entries.filter((entry) => Number(list.readBigUInt64LE(entry + 40)) === length);
  const name = Buffer.from(list.subarray(one, one! + 32));
  list.copy(list, one, other, other! + 32);
  name.copy(list, other);
  await writeFile(path, list);
}

let pushed: ReturnType<typeof pushLarge> | null = null;
/** An image of 200 MB and an update of it, pushed once. */
const large = (): ReturnType<typeof pushLarge> => (pushed ??= pushLarge());

async function pushLarge() {
  const made = releases(200_000_000);
  expect(made.changed).toBeGreaterThan(5_000_000);
  return { ...made, first: await push('1', made.before), second: await push('2', made.after) };
}

describe.skipIf(reason !== null)(titleOf('a pull of an update', reason), () => {
  test.each(['lazily', 'eagerly'] as const)(
    'of 5 MB and more in an image of 200 MB fetches %s at most 1.5 times what changed, metadata and table',
    async (way) => {
      const { before, after, changed, first, second } = await large();
      const whole = await pulled[way](first, before);
      expect(whole).toBeGreaterThan(200_000_000);
      const fetched = await pulled[way](second, after);
      expect(fetched).toBeLessThan(1.5 * changed + opening + 1000 * entrySize + files * inodeSize);
      expect(fetched).toBeGreaterThan(changed);
      console.log(`${way}: ${fetched} bytes of ${whole} were fetched, ${changed} had changed`);
    },
  );

  test.each([
    ['lazily', 'eagerly'],
    ['eagerly', 'lazily'],
  ] as const)('takes %s what came %s, with dm-verity trees', async (way, earlier) => {
    const { before, after, changed } = releases(20_000_000);
    const [first, second] = [await push('1', before, '--dm-verity'), await push('2', after, '--dm-verity')];
    expect(await pulled[earlier](first, before)).toBeGreaterThan(20_000_000);
    const fetched = await pulled[way](second, after);
    expect(fetched).toBeLessThan(0.2 * 20_000_000);
    expect(fetched).toBeGreaterThan(changed);
  });

  test('takes nothing from a store that gave what is not the layer, once that is known', async () => {
    const { before, after } = releases(20_000_000);
    const [first, second] = [await push('1', before), await push('2', after)];
    await pulled.eagerly(first, before);
    const stores = join(state, 'content/lazy');
    const [store] = (await readdir(stores)).filter((name) => /^[0-9a-f]{64}$/.test(name));
    await swapNames(join(stores, store!, 'chunks-1'), 249_856); // bin/0 and bin/1
    await mount(second, '--lazy');
    const log = (): string => readFileSync(join(state, 'lazy/log'), 'utf8');
    while (!log().includes('its store is emptied')) await sleep(200);
    await sleep(1000); // it has no file for a moment
    await expectFiles(after);
    await umount();
  });
});
