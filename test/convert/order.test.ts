import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openErofs } from '../../src/erofs/filesystem';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { hotEndOf } from '../../src/format/annotations';
import { serializeTrace, type TraceRead } from '../../src/format/trace';
import { pushTrace } from '../../src/image/trace-transfer';
import { openBlob } from '../../src/layer/open-blob';
import { LayoutBuilder, type Descriptor } from '../conformance/support/image';
import { caught } from '../support/caught';
import { tarBytes } from '../support/tar-bytes';

// `convert --order`: what a trace names comes first in the images that are built of tars.

const layer = `sha256:${'a'.repeat(64)}`;
const chunkSize = 64 << 10;
const text = (letter: string, size: number): string => letter.repeat(size);
const files = {
  a: text('a', 200_000),
  b: text('b', 5000),
  large: Array.from({ length: 20_000 }, (_, i) => `line ${i} of a large file\n`).join(''),
  z: text('z', 9000),
};

let folder: string;
let builder: LayoutBuilder;
let warnings: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'order-'));
  builder = new LayoutBuilder(join(folder, 'source'));
  warnings = [];
  const entries = Object.entries(files).map(([name, content]) => ({ name: `dir/${name}`, content }));
  builder.name(builder.image([builder.tarLayer(tarBytes([{ name: 'dir', type: '5' }, ...entries]))]));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);
const read = (path: string, ...ranges: [number, number][]): TraceRead => ({
  path,
  layer,
  ranges,
  firstMs: 0,
});

function writeTrace(...reads: TraceRead[]): string {
  writeFileSync(at('trace'), serializeTrace({ schema: 1, image: 'x', platform: 'linux/amd64', reads }));
  return at('trace');
}

async function convert(name: string, options: ConvertOptions = {}, source = 'source'): Promise<Descriptor> {
  const onWarning = (line: string): unknown => warnings.push(line);
  const { digest } = await convertImage(`oci:${at(source)}`, `oci:${at(name)}:image`, {
    chunkSize,
    onWarning,
    ...options,
  });
  const manifest = JSON.parse(readFileSync(blobAt(name, digest!), 'utf8')) as { layers: Descriptor[] };
  return manifest.layers[0]!;
}

const blobAt = (name: string, digest: string): string => join(at(name), 'blobs/sha256', digest.slice(7));

async function withImage<T>(
  name: string,
  descriptor: Descriptor,
  use: (image: Awaited<ReturnType<typeof openErofs>>) => Promise<T>,
): Promise<T> {
  const blob = await openBlob(blobAt(name, descriptor.digest), { descriptor });
  try {
    return await use(await openErofs(blob));
  } finally {
    await blob.close();
  }
}

/** Where the pieces of a file lie in the image. */
async function placesOf(name: string, descriptor: Descriptor, file: string): Promise<[number, number][]> {
  return withImage(name, descriptor, async (image) => {
    const places: [number, number][] = [];
    for await (const { address, length } of await image.extents(`/dir/${file}`))
      places.push([address, length]);
    return places;
  });
}

test('the files of the trace come first, in its order, up to a border of chunks', async () => {
  const descriptor = await convert('dst', { order: writeTrace(read('/dir/z'), read('/dir/b', [0, 10])) });
  const end = Number(descriptor.annotations!['dev.seekable-erofs.hot']);
  expect(end % chunkSize).toBe(0);
  const places = await Promise.all(['z', 'b', 'a'].map((name) => placesOf('dst', descriptor, name)));
  const [z, b, a] = places.map(([first]) => first![0]);
  expect(z).toBeLessThan(b!);
  expect(b).toBeLessThan(end);
  expect(a).toBeGreaterThanOrEqual(end);
});

test('of a large file only what is read comes first', async () => {
  const order = writeTrace(read('/dir/large', [100_000, 10], [300_000, 40_000]));
  const descriptor = await convert('dst', { order });
  const end = hotEndOf(descriptor, Infinity)!;
  const hot = (await placesOf('dst', descriptor, 'large')).filter(([offset]) => offset < end);
  const bytes = hot.reduce((sum, [, length]) => sum + length, 0);
  expect(bytes).toBe((1 + 3) * 16384); // pieces 6, and 18 to 20
});

test('whatever the order, the files are the same', async () => {
  const descriptor = await convert('dst', {
    order: writeTrace(read('/dir/large', [100_000, 10]), read('/dir/z')),
  });
  await withImage('dst', descriptor, async (image) => {
    for (const [name, content] of Object.entries(files)) {
      expect((await image.readFile(`/dir/${name}`)).toString('latin1')).toBe(content);
    }
  });
});

test('same tar and trace, same bytes, on any number of threads; another trace, others', async () => {
  const order = writeTrace(read('/dir/z'));
  const [one, two] = [
    await convert('one', { order, threads: 1 }),
    await convert('two', { order, threads: 3 }),
  ];
  expect(one).toEqual(two);
  const cached = { cache: at('cache') };
  await convert('first', { order, ...cached });
  expect(await convert('second', { order, ...cached })).toEqual(one);
  expect((await convert('other', { order: writeTrace(read('/dir/a')), ...cached })).digest).not.toBe(
    one.digest,
  );
  expect((await convert('none', cached)).annotations).not.toHaveProperty('dev.seekable-erofs.hot');
});

test('paths that no layer has are named in a warning, and left out', async () => {
  const order = writeTrace(...['gone', 'b', 'dir', 'too', 'and', 'more'].map((name) => read(`/dir/${name}`)));
  await convert('dst', { order });
  expect(warnings).toEqual([
    `${at('trace')}: the image has no file /dir/gone, /dir/dir, /dir/too and 2 more`,
  ]);
});

test('a trace of which nothing is there changes nothing', async () => {
  const plain = await convert('plain');
  expect(await convert('dst', { order: writeTrace(read('/nothing')) })).toEqual(plain);
});

test('a layer that is EROFS already passes as it is, with a warning', async () => {
  const order = writeTrace(read('/dir/z'));
  const first = await convert('first', { order });
  expect(await convert('again', { order: writeTrace(read('/dir/a')) }, 'first')).toEqual(first);
  expect(warnings).toEqual([expect.stringContaining('--order has no effect') as string]);
  // Wrapped anew, its image is as it was.
  const anew = await convert('anew', { chunkSize: '128KiB' }, 'first');
  expect(hotEndOf(anew, Infinity)).toBe(hotEndOf(first, Infinity));
});

test('"auto" is the trace that is attached to the source; without one there is a warning and no order', async () => {
  const order = writeTrace(read('/dir/z'), read('/dir/b'));
  const plain = await convert('plain');
  expect(await convert('none', { order: 'auto' })).toEqual(plain);
  expect(warnings).toEqual([expect.stringContaining('no trace is attached to it') as string]);
  await pushTrace(order, `oci:${at('source')}`);
  const cached = { cache: at('cache') };
  await convert('without', cached);
  const auto = await convert('auto', { order: 'auto', ...cached });
  expect(auto).toEqual(await convert('given', { order }));
  expect(auto.digest).not.toBe(plain.digest);
  expect(warnings).toHaveLength(1);
});

test('an attached trace that is damaged is left out, with a warning', async () => {
  await pushTrace(writeTrace(read('/dir/z')), `oci:${at('source')}`);
  const name = createHash('sha256')
    .update(readFileSync(at('trace')))
    .digest('hex');
  writeFileSync(join(at('source'), 'blobs/sha256', name), Buffer.alloc(readFileSync(at('trace')).length));
  expect(await convert('dst', { order: 'auto' })).toEqual(await convert('plain'));
  expect(warnings).toEqual([expect.stringContaining('its trace is of no use') as string]);
});

test.each<[string, ConvertOptions, string]>([
  ['mkfs.erofs', { mkfs: '' }, 'oci'],
  ['a tar index', { mkfsTarIndex: true }, 'oci'],
  ["containerd's cache", {}, 'erofs-cache'],
])('is refused together with %s', async (_, options, transport) => {
  const order = writeTrace(read('/dir/z'));
  const error = await caught(() =>
    convertImage(`oci:${at('source')}`, `${transport}:${at('dst')}`, { ...options, order }),
  );
  expect(error).toMatchObject({ code: 'USAGE' });
});

test('a file that is no trace, and one that is not there, are named', async () => {
  writeFileSync(at('bad'), '{}');
  expect(await caught(() => convert('dst', { order: at('bad') }))).toMatchObject({
    code: 'CORRUPT',
    what: at('bad'),
  });
  expect(await caught(() => convert('dst', { order: at('none') }))).toMatchObject({
    code: 'NOT_FOUND',
    what: at('none'),
  });
});

describe('of several layers', () => {
  const big = (letter: string, name: string) => ({ name, content: text(letter, 20_000) });
  const folderEntry = (name: string) => ({ name, type: '5' });
  const paths = ['kept', 'replaced', 'removed', 'opaque/old', 'folder/inside', 'turned', 'gone/deep/file'];
  const lower = tarBytes([
    ...['opaque', 'folder', 'gone', 'gone/deep'].map(folderEntry),
    ...paths.map((name) => big('l', name)),
  ]);
  const upper = tarBytes([
    big('u', 'replaced'),
    { name: '.wh.removed', content: '' },
    folderEntry('opaque'),
    { name: 'opaque/.wh..wh..opq', content: '' },
    big('u', 'opaque/new'),
    { name: 'folder', type: '2', target: 'elsewhere' },
    folderEntry('turned'),
    { name: '.wh.gone', content: '' },
  ]);

  /** The hot files of each layer of `dst`, the lowest first. */
  async function hotOf(layers: readonly Descriptor[]): Promise<string[][]> {
    return Promise.all(
      layers.map((layer) => {
        const end = hotEndOf(layer, Infinity) ?? 0;
        return withImage('dst', layer, async (image) => {
          const hot: string[] = [];
          for await (const { path, inode } of image.walk()) {
            if (inode.type !== 'file') continue;
            for await (const { address } of image.extentsOf(inode))
              if (address < end) hot.push(path.toString());
          }
          return hot;
        });
      }),
    );
  }

  async function layersOf(options: ConvertOptions): Promise<Descriptor[]> {
    rmSync(at('dst'), { recursive: true, force: true });
    await convert('dst', options);
    const { manifests } = JSON.parse(readFileSync(join(at('dst'), 'index.json'), 'utf8')) as {
      manifests: Descriptor[];
    };
    return (JSON.parse(readFileSync(blobAt('dst', manifests[0]!.digest), 'utf8')) as { layers: Descriptor[] })
      .layers;
  }

  beforeEach(() => {
    const other = tarBytes([big('o', 'other')]);
    builder.name(builder.image([lower, upper, other].map((tar) => builder.tarLayer(tar))));
  });

  test('a file is hot where it is seen, and not in the layers below that it hides', async () => {
    const order = writeTrace(...[...paths, 'opaque/new', 'other'].map((path) => read(`/${path}`)));
    const [low, high, top] = await hotOf(await layersOf({ order }));
    expect(low).toEqual(['/kept']);
    expect(high!.sort()).toEqual(['/opaque/new', '/replaced']);
    expect(top).toEqual(['/other']);
    const gone = '/removed, /opaque/old, /folder/inside and 2 more';
    expect(warnings).toEqual([expect.stringContaining(`the image has no file ${gone}`) as string]);
  });

  test('what a layer hides is kept with it in a cache, and counts there too', async () => {
    const cached = { order: writeTrace(...paths.map((path) => read(`/${path}`))), cache: at('cache') };
    const first = await layersOf(cached);
    // The upper layer is taken from the cache, the lower one is not.
    builder.name(
      builder.image(
        [tarBytes([big('n', 'new'), big('l', 'replaced'), big('l', 'kept')]), upper].map((tar) =>
          builder.tarLayer(tar),
        ),
      ),
    );
    const second = await layersOf(cached);
    expect(second[1]).toEqual(first[1]);
    expect(await hotOf(second)).toEqual([['/kept'], ['/replaced']]);
  });

  test('a layer of which nothing is seen is as without an order', async () => {
    const hidden = writeTrace(read('/replaced'), read('/removed'));
    const [ordered] = await layersOf({ order: hidden });
    const [plain] = await layersOf({});
    expect(ordered).toEqual(plain);
  });

  test('a layer that fails ends the conversion, whoever waits for it', async () => {
    const broken = builder.tarLayer(tarBytes([big('x', 'x')]));
    builder.name(builder.image([builder.tarLayer(lower), { ...broken, diffId: `sha256:${'9'.repeat(64)}` }]));
    const order = writeTrace(read('/kept'));
    expect(await caught(() => convert('dst', { order }))).toMatchObject({ code: 'MISMATCH' });
  });
});
