import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { ConvertResult } from '../../src/convert/convert-result';
import { convertImage } from '../../src/convert/image';
import { ConversionPool } from '../../src/convert/pool';
import type { ProgressEvent } from '../../src/job';
import { LayoutDestination } from '../../src/store/layout/layout';
import { LayoutSource } from '../../src/store/layout/source';
import { blobPath, makeTar, noise, writeLayout } from '../e2e/sample';
import { caught } from '../support/caught';

let root: string;
let source: string;
let tars: Buffer[];
let number = 0;

const layerCount = 9;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'convert-image-'));
  tars = await Promise.all(
    Array.from({ length: layerCount }, (_, i) =>
      makeTar([{ name: `file-${i}`, content: noise(1000 + 40_000 * i, `layer ${i}`) }]),
    ),
  );
  source = join(root, 'src');
  await writeLayout(source, [...tars, tars[0]!], { compress: false, ref: 'app' });
});
afterAll(() => rm(root, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
});

const newPath = (): string => join(root, `${number++}`);
const digestsOf = ({ manifests }: ConvertResult) => manifests[0]!.layers.map(({ digest }) => digest);

describe('the layers of an image', () => {
  test('give the same image with any number of threads, and each is converted once', async () => {
    const digests = new Set<string | null>();
    for (const threads of [1, 2, 8]) {
      const drafts = vi.spyOn(LayoutDestination.prototype, 'createBlob');
      const result = await convertImage(`oci:${source}`, `oci:${newPath()}:app`, {
        threads,
        chunkSize: '64KiB',
      });
      expect(drafts).toHaveBeenCalledTimes(layerCount);
      drafts.mockRestore();
      digests.add(result.digest);
      expect(result.manifests[0]!.layers).toHaveLength(layerCount + 1);
      expect(digestsOf(result).at(-1)).toBe(digestsOf(result)[0]);
      expect(result.summary.layers).toBe(layerCount);
    }
    expect(digests.size).toBe(1);
  });

  test('begin with the largest: one core inflates it while others work on the rest', async () => {
    const opened = vi.spyOn(LayoutSource.prototype, 'openFile');
    await convertImage(`oci:${source}`, `oci:${newPath()}:app`, { threads: 1 });
    const sizes = opened.mock.calls.map(([{ size }]) => size);
    expect(sizes).toHaveLength(layerCount);
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
  });

  test('are told apart in progress', async () => {
    const events: ProgressEvent[] = [];
    const onProgress = (event: ProgressEvent): void => void events.push(event);
    const { manifests } = await convertImage(`oci:${source}`, `oci:${newPath()}:app`, {
      dmVerity: true,
      onProgress,
    });
    const names = new Set(manifests[0]!.layers.map((layer) => `blob ${layer.source}`));
    expect(new Set(events.map(({ item }) => item))).toEqual(names);
  });

  test('end together when one is wrong: nothing is left, and nothing goes on', async () => {
    const bad = newPath();
    const digests = await writeLayout(bad, tars, { compress: false });
    const path = blobPath(bad, digests[4]!);
    const bytes = await readFile(path);
    bytes[700]! ^= 1;
    await writeFile(path, bytes);
    const destination = newPath();
    const error = await caught(() => convertImage(`oci:${bad}`, `oci:${destination}:app`, { threads: 2 }));
    expect([error.code, error.what]).toEqual(['MISMATCH', `blob ${digests[4]!}`]);
    expect(existsSync(destination)).toBe(false);
    expect(await openFiles()).toEqual([]);
  });

  test('end when the caller says so', async () => {
    const destination = newPath();
    const controller = new AbortController();
    const onProgress = (): void => {
      controller.abort();
    };
    const options = { signal: controller.signal, onProgress, cache: newPath() };
    const error = await caught(() => convertImage(`oci:${source}`, `oci:${destination}:app`, options));
    expect(error.code).toBe('CANCELLED');
    expect(existsSync(destination)).toBe(false);
  });
});

/** What this process has open of the images here, and files without a name: the test's runner opens others when it likes. */
async function openFiles(): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(
    descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  );
  return paths.filter((path) => path.startsWith(root) || /\/#\d+ \(deleted\)$/.test(path));
}

test('a converted image is not transferred again', async () => {
  const path = newPath();
  const first = await convertImage(`oci:${source}`, `oci:${path}:app`);
  const spies = [
    vi.spyOn(LayoutDestination.prototype, 'createBlob'),
    vi.spyOn(LayoutDestination.prototype, 'writeBlob'),
    vi.spyOn(LayoutSource.prototype, 'openFile'),
  ];
  const again = await convertImage(`oci:${path}`, `oci:${path}:app`);
  expect(again.digest).toBe(first.digest);
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
});

describe('images that share a pool', () => {
  test('convert a common layer once, and go into one layout at the same time', async () => {
    const other = newPath();
    await writeLayout(other, [tars[0]!, await makeTar([{ name: 'own', content: 'own' }])], {
      compress: false,
    });
    const path = newPath();
    const pool = new ConversionPool({ threads: 2 });
    const drafts = vi.spyOn(LayoutDestination.prototype, 'createBlob');
    const [one, two] = await Promise.all([
      convertImage(`oci:${source}`, `oci:${path}:one`, { pool }),
      convertImage(`oci:${other}`, `oci:${path}:two`, { pool }),
    ]);
    expect(drafts).toHaveBeenCalledTimes(layerCount + 1);
    expect(digestsOf(two)[0]).toBe(digestsOf(one)[0]);
    expect((await readdir(path)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    // Manifest and config of each, and the layers.
    expect(await readdir(join(path, 'blobs', 'sha256'))).toHaveLength(layerCount + 1 + 4);
    await convertImage(`oci:${other}`, `oci:${path}:three`, { pool });
    expect(drafts).toHaveBeenCalledTimes(layerCount + 1);
  });

  test('do not fail for each other, and leave nothing of one that fails', async () => {
    const bad = newPath();
    const own = await makeTar([{ name: 'bad', content: 'bad' }]);
    const digests = await writeLayout(bad, [...tars, own], { compress: false });
    const file = blobPath(bad, digests.at(-1)!);
    const bytes = await readFile(file);
    bytes[520]! ^= 1;
    await writeFile(file, bytes);
    const path = newPath();
    const pool = new ConversionPool({ threads: 2 });
    const [failed, done] = await Promise.allSettled([
      convertImage(`oci:${bad}`, `oci:${path}:bad`, { pool }),
      convertImage(`oci:${source}`, `oci:${path}:good`, { pool }),
    ]);
    expect([failed.status, done.status]).toEqual(['rejected', 'fulfilled']);
    expect((await readdir(path)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    expect(await readdir(join(path, 'blobs', 'sha256'))).toHaveLength(layerCount + 2);
  });
});
