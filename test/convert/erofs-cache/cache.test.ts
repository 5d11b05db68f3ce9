import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { convertImage } from '../../../src/convert/image';
import { parseDmveritySidecar } from '../../../src/format/dmverity-sidecar';
import { parseVeritySuperblock, serializeVeritySuperblock } from '../../../src/format/verity-superblock';
import { filesUnder, makeTar, noise, sha256, writeLayout } from '../../e2e/sample';
import { caught } from '../../support/caught';

/** Which call on an entry's path, its sidecar or its folder fails: counted from 1, once or all from there on. */
const fault = vi.hoisted(() => ({ folder: '', calls: 0, first: Infinity, last: Infinity }));

vi.mock('node:fs/promises', async (original) => {
  const actual = await original<Record<string, unknown>>();
  const failing = Object.fromEntries(
    ['rename', 'link', 'unlink', 'mkdir', 'open', 'stat', 'rmdir'].map((name) => [
      name,
      async (...args: unknown[]) => {
        const isOurs = fault.folder !== '' && args.some((arg) => String(arg).startsWith(fault.folder));
        if (isOurs && ++fault.calls >= fault.first && fault.calls <= fault.last) {
          throw Object.assign(new Error(`ENOSPC: no space left on device, ${name}`), {
            code: 'ENOSPC',
            syscall: name,
          });
        }
        return (actual[name] as (...all: unknown[]) => Promise<unknown>)(...args);
      },
    ]),
  );
  return { ...actual, ...failing, default: { ...actual, ...failing } };
});

let root: string;
let tars: Buffer[];
let cache: string;
let number = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'erofs-cache-'));
  tars = await Promise.all(
    [1, 2, 3].map((n) => makeTar([{ name: `file-${n}`, content: noise(9000 * n, `cache ${n}`) }])),
  );
  await writeLayout(join(root, 'all'), tars);
  await writeLayout(join(root, 'one'), [tars[0]!]);
  await writeLayout(join(root, 'two'), [tars[1]!]);
  await fill('plain', 'all');
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(() => {
  cache = `cache-${number++}`;
  Object.assign(fault, { folder: '', calls: 0, first: Infinity, last: Infinity });
});

const at = (...names: string[]): string => join(root, ...names);
const fill = (to: string, image: string, dmVerity = false) =>
  convertImage(`oci:${at(image)}`, `erofs-cache:${at(to)}`, { dmVerity, threads: 1 });
const entryOf = (tar: Buffer): string => {
  const hex = sha256(tar).slice(7);
  return join('sha256', hex.slice(0, 2), `${hex}.erofs`);
};

async function contentOf(folder: string): Promise<Record<string, string>> {
  const names = await filesUnder(at(folder));
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, sha256(await readFile(at(folder, name)))] as const)),
  );
}

/** Every entry has a whole image, and a sidecar that is none of another one; how many of either there are. */
async function checkPairs(folder: string): Promise<{ images: number; sidecars: number }> {
  const names = await filesUnder(at(folder));
  const images = names.filter((name) => name.endsWith('.erofs'));
  const sidecars = names.filter((name) => name.endsWith('.dmverity'));
  expect(names).toHaveLength(images.length + sidecars.length);
  for (const name of sidecars) {
    const image = await readFile(at(folder, name.replace(/\.dmverity$/, '')));
    const { hashOffset } = parseDmveritySidecar(await readFile(at(folder, name), 'utf8'));
    const { dataBlocks, dataBlockSize } = parseVeritySuperblock(image.subarray(hashOffset));
    expect(dataBlocks * dataBlockSize).toBe(hashOffset);
  }
  return { images: images.length, sidecars: sidecars.length };
}

describe('a plain cache that is to get trees', () => {
  test.each(['once', 'from there on'])(
    'keeps its entries when a call fails %s, whichever it is',
    async (how) => {
      const before = await contentOf('plain');
      for (let step = 1; ; step++) {
        cache = `cache-${number++}`;
        await cp(at('plain'), at(cache), { recursive: true });
        const last = how === 'once' ? step : Infinity;
        Object.assign(fault, { folder: at(cache, 'sha256'), calls: 0, first: step, last });
        const error = await fill(cache, 'all', true).then(
          () => null,
          (reason: unknown) => reason,
        );
        const { calls } = fault;
        fault.folder = '';
        if (calls < step) break;
        expect(step).toBeLessThan(200);
        const images = (await filesUnder(at(cache))).filter((name) => name.endsWith('.erofs'));
        expect(images, `call ${step}`).toEqual(Object.keys(before));
        // Where the undoing fails as well, a sidecar may be left over until the next run.
        if (how === 'once') await checkPairs(cache);
        if (how === 'once' && error !== null) expect(await contentOf(cache), `call ${step}`).toEqual(before);
        expect((await fill(cache, 'all', true)).manifests[0]!.layers).toHaveLength(3);
        expect(await checkPairs(cache)).toEqual({ images: 3, sidecars: 3 });
        await rm(at(cache), { recursive: true });
      }
      expect(number).toBeGreaterThan(10);
    },
  );

  test('keeps its entries when a folder lies where a sidecar belongs', async () => {
    await cp(at('plain'), at(cache), { recursive: true });
    await mkdir(at(cache, `${entryOf(tars[2]!)}.dmverity`));
    const before = await contentOf(cache);
    await caught(() => fill(cache, 'all', true));
    expect(await contentOf(cache)).toEqual(before);
    await fill(cache, 'all');
    expect(await contentOf(cache)).toEqual(before);
  });

  test('is left without new folders when it can’t be filled', async () => {
    await fill(cache, 'one');
    await mkdir(at(cache, `${entryOf(tars[2]!)}.dmverity`), { recursive: true });
    const before = await contentOf(cache);
    await caught(() => fill(cache, 'all', true));
    expect(await contentOf(cache)).toEqual(before);
    await expect(stat(at(cache, entryOf(tars[1]!), '..'))).rejects.toThrow('ENOENT');
  });
});

describe('a sidecar that a kill left', () => {
  async function fillKilled(image: string): Promise<void> {
    const runner = join(__dirname, '..', '..', 'support', 'run-ts.mjs');
    await mkdir(at('compiled'), { recursive: true });
    const script = join(__dirname, 'erofs-cache-killed.ts');
    const child = spawn(process.execPath, [runner, at('compiled'), script, at(image), at(cache)], {
      stdio: 'inherit',
    });
    expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
    expect((await filesUnder(at(cache))).filter((name) => name.endsWith('.dmverity'))).toHaveLength(1);
  }

  test.each([
    { then: 'the same image, plain', image: 'one', dmVerity: false, wanted: { images: 3, sidecars: 0 } },
    { then: 'the same image', image: 'one', dmVerity: true, wanted: { images: 3, sidecars: 1 } },
    { then: 'another image', image: 'two', dmVerity: false, wanted: { images: 3, sidecars: 0 } },
  ])('beside an older image is mended by the next run: $then', async ({ image, dmVerity, wanted }) => {
    await cp(at('plain'), at(cache), { recursive: true });
    const before = await readFile(at(cache, entryOf(tars[0]!)));
    await fillKilled('one');
    expect(await readFile(at(cache, entryOf(tars[0]!)))).toEqual(before);
    await fill(cache, image, dmVerity);
    expect(await checkPairs(cache)).toEqual(wanted);
  });

  test('alone is no part of what a plain run puts there', async () => {
    await fillKilled('one');
    await fill(cache, 'one');
    expect(await checkPairs(cache)).toEqual({ images: 1, sidecars: 0 });
  });

  test('of an image of another size is no tree, though it points into the image', async () => {
    await fill(cache, 'one');
    const path = at(cache, entryOf(tars[0]!));
    await writeFile(`${path}.dmverity`, JSON.stringify({ roothash: '0'.repeat(128), hashoffset: 4096 }));
    const [layer] = (await fill(cache, 'one', true)).manifests[0]!.layers;
    expect(layer!.reused).toBe(false);
    expect(await checkPairs(cache)).toEqual({ images: 1, sidecars: 1 });
  });
});

describe('the tree of an entry', () => {
  test('has the one shape that containerd opens, and takes the place of another', async () => {
    await fill(cache, 'one', true);
    const path = at(cache, entryOf(tars[0]!));
    const image = await readFile(path);
    const { rootDigest, hashOffset } = parseDmveritySidecar(await readFile(`${path}.dmverity`, 'utf8'));
    expect(rootDigest).toMatch(/^sha256:/);
    const shape = { algorithm: 'sha256', dataBlockSize: 4096, hashBlockSize: 4096 } as const;
    const superblock = parseVeritySuperblock(image.subarray(hashOffset));
    expect(superblock).toMatchObject(shape);
    const other = Buffer.concat([image, Buffer.alloc(8192)]);
    other.set(serializeVeritySuperblock({ ...superblock, algorithm: 'sha512' }), hashOffset);
    await writeFile(path, other);
    const [layer] = (await fill(cache, 'one', true)).manifests[0]!.layers;
    expect([layer!.reused, (await readFile(path)).equals(image)]).toEqual([false, true]);
  });

  test.each([{ dmVerityHash: 'sha512' }, { dmVerityBlockSize: 1024 }] as const)(
    'can have no other: %j',
    async (asked) => {
      const options = { dmVerity: true, ...asked };
      const refused = await caught(() =>
        convertImage(`oci:${at('one')}`, `erofs-cache:${at(cache)}`, options),
      );
      expect([refused.code, refused.why]).toEqual([
        'USAGE',
        'containerd takes trees of SHA-256 and 4096 bytes, and no others',
      ]);
    },
  );
});
