import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convertImage, listImage } from '../../../src/index';
import { chunkKinds } from '../../../src/image/page/file-kinds';
import { pageImages, type PageImage } from '../../../src/image/page/model';
import { escaped, renderPage } from '../../../src/image/page/render';
import { SizeTree, type SizeNode } from '../../../src/image/page/size-tree';
import { makeTar, noise, writeLayout } from '../../e2e/sample';

let root: string;
let image: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'page-'));
  const lower = [
    { name: 'usr/lib/libbig.so.1', content: noise(300_000, 'library') },
    { name: 'usr/bin/tool', content: noise(100_000, 'tool'), mode: 0o755 },
    { name: 'etc/old.conf', content: noise(50_000, 'old') },
  ];
  const upper = [
    { name: 'etc/old.conf', content: noise(70_000, 'new') },
    { name: 'usr/lib/other.so', content: noise(120_000, 'other') },
  ];
  await writeLayout(join(root, 'src'), [await makeTar(lower), await makeTar(upper)], { ref: 'app' });
  image = `oci:${join(root, 'made')}:app`;
  await convertImage(`oci:${join(root, 'src')}:app`, image, { dmVerity: true, chunkSize: '64KiB' });
});
afterAll(() => rm(root, { recursive: true }));

const kindsOf = ({ layers }: PageImage, layer: number): string[] =>
  layers[layer]!.tiles.map(({ kind }) => chunkKinds[kind]!);

test('each chunk says what lies in it, and which files', async () => {
  const [page] = await pageImages(image, {});
  const [lower, upper] = page!.layers;
  expect([lower!.chunks, lower!.tiles.length]).toEqual([lower!.tiles.length, lower!.chunks]);
  const inLibrary = lower!.tiles.filter(({ files }) => files.includes('/usr/lib/libbig.so.1'));
  expect(inLibrary.length).toBeGreaterThanOrEqual(4);
  expect(kindsOf(page!, 0)).toEqual(expect.arrayContaining(['libraries', 'programs']));
  const total = upper!.tiles.reduce((sum, { stored }) => sum + stored, 0);
  expect(total).toBeLessThanOrEqual(upper!.size);
  expect(lower!.verity!.levels.at(-1)).toBe(1);
  expect(lower!.annotations.length).toBeGreaterThan(0);
});

test('what upper layers hide is counted, and has its place in the tree', async () => {
  const [page] = await pageImages(image, {});
  expect(page!.layers.map(({ hiddenBytes }) => hiddenBytes)).toEqual([50_000, 0]);
  const etc = page!.tree!.children.find(({ name }) => name === 'etc')!;
  expect(etc.children.map(({ name, bytes, layer }) => [name, bytes, layer])).toEqual([
    ['old.conf', 70_000, 1],
    ['hidden by upper layers', 50_000, -2],
  ]);
  expect(page!.tree!.bytes).toBe(300_000 + 100_000 + 50_000 + 70_000 + 120_000);
  const all = (node: SizeNode): SizeNode[] => [node, ...node.children.flatMap(all)];
  for (const { name, bytes, children } of all(page!.tree!))
    if (children.length > 0)
      expect([name, children.reduce((sum, one) => sum + one.bytes, 0)]).toEqual([name, bytes]);
});

test('a folder has the colour of the layer that most of it is of', () => {
  const tree = new SizeTree();
  for (let i = 0; i < 5000; i++) tree.add(`/usr/f${i}`, 10 + i, i % 10 === 0 ? 1 : 0);
  for (const layer of [0, 1, 2]) tree.add(`/srv/${layer}`, 100_000, layer);
  for (const layer of [1, 0]) tree.add(`/opt/a/${layer}`, layer === 1 ? 90_000 : 10_000, layer);
  const { children } = tree.root();
  expect(Object.fromEntries(children.map(({ name, mainly }) => [name, mainly]))).toEqual({
    usr: 0,
    srv: -1,
    opt: 1,
  });
  const small = children.find(({ name }) => name === 'usr')!.children.find(({ layer }) => layer === -3);
  expect(small).toMatchObject({ mainly: 0, name: 'smaller ones' });
});

test('a trace marks the chunks that it reads, in its order', async () => {
  const read = (path: string, ranges: [number, number][]) => ({ path, layer: '', ranges, firstMs: 1 });
  const reads = [read('/usr/bin/tool', [[0, 10]]), read('/usr/lib/libbig.so.1', []), read('/gone', [])];
  const trace = { schema: 1 as const, image: 'x', platform: 'linux/amd64', reads };
  const [page] = await pageImages(image, { trace });
  expect(page!.traced).toEqual({ files: 3, missing: 1 });
  const tiles = page!.layers[0]!.tiles;
  expect(tiles.filter(({ read }) => read === 0)).toHaveLength(1);
  expect(tiles.filter(({ read }) => read === 1).length).toBeGreaterThanOrEqual(4);
  expect(page!.layers[1]!.tiles.every(({ read }) => read === -1)).toBe(true);
});

test('of two images each shows what the other has as well', async () => {
  const other = `oci:${join(root, 'other')}:app`;
  await writeLayout(join(root, 'src2'), [await makeTar([{ name: 'x', content: noise(300_000, 'x') }])], {
    ref: 'app',
  });
  await convertImage(`oci:${join(root, 'src2')}:app`, other, { chunkSize: '64KiB' });
  const same = await pageImages(image, { sharedWith: image });
  expect(same.map(({ shared }) => shared!.chunks)).toEqual(
    same.map(({ layers }) => layers[0]!.chunks + layers[1]!.chunks),
  );
  const different = await pageImages(image, { sharedWith: other });
  expect(different.map(({ shared }) => shared)).toEqual([
    { chunks: 0, bytes: 0 },
    { chunks: 0, bytes: 0 },
  ]);
});

test('files on a device have their places in it, and layers keep their numbers', async () => {
  const convert = { profile: 'erofs-image-spec', deviceTar: true } as const;
  await writeLayout(
    join(root, 'plain'),
    [
      await makeTar([{ name: 'a', content: noise(300_000, 'a') }]),
      await makeTar([{ name: 'b', content: noise(90_000, 'b') }]),
    ],
    { ref: 'app', compress: false },
  );
  const made = `oci:${join(root, 'devices')}:app`;
  await convertImage(`oci:${join(root, 'plain')}:app`, made, convert);
  const [page] = await pageImages(made, {});
  expect(page!.layers.map(({ kind, fileBytes }) => [kind, fileBytes])).toEqual([
    ['device', 0],
    ['seekable', 300_000],
    ['device', 0],
    ['seekable', 90_000],
  ]);
  expect(page!.tree!.children.map(({ name, bytes, layer }) => [name, bytes, layer])).toEqual([
    ['a', 300_000, 1],
    ['b', 90_000, 3],
  ]);
  expect(renderPage([page!])).toContain('Bytes that layers above point into');
});

test('an image whose layers do not fit has no page, as it has no listing', async () => {
  const vectors = join(__dirname, '../../../vectors/layout');
  const { manifests } = JSON.parse(await readFile(join(vectors, 'index.json'), 'utf8')) as {
    manifests: { annotations: Record<string, string> }[];
  };
  const outcome = async (act: () => Promise<unknown>): Promise<string> => {
    const thrown = await act().catch((error: unknown) => error as { code: string });
    return (thrown as { code?: string } | undefined)?.code ?? 'ok';
  };
  const differing: string[] = [];
  for (const { annotations } of manifests) {
    const name = annotations['org.opencontainers.image.ref.name']!;
    const image = `oci:${vectors}:${name}`;
    const list = () => listImage(image, '/', { recursive: true, platform: 'linux/amd64' });
    const [page, listing] = [
      await outcome(() => pageImages(image, { platform: 'linux/amd64' })),
      await outcome(list),
    ];
    if (page !== listing) differing.push(`${name}: ${page}, ${listing}`);
  }
  expect(manifests.length).toBeGreaterThan(80);
  // Of EROFS that can not be read in parts the page says so.
  expect(differing.filter((line) => !line.endsWith(': ok, UNVERIFIED'))).toEqual([]);
});

test('of a tar, the page says that there is nothing to see', async () => {
  const [page] = await pageImages(`oci:${join(root, 'src')}:app`, {});
  expect([page!.tree, page!.layers[0]!.kind]).toEqual([null, 'tar']);
  expect(renderPage([page!])).toContain('What convert makes of it has both.');
});

test('the tree of two million files is small', () => {
  const tree = new SizeTree();
  for (let i = 0; i < 2_000_000; i++) tree.add(`/d${i % 3000}/e${i % 70_000}/f${i}`, 1 + (i % 7), 0);
  tree.add('/large', 10_000_000, 1);
  const page = tree.root();
  const count = (node: { children: readonly unknown[] }): number =>
    node.children.reduce<number>((sum, child) => sum + count(child as typeof node), 1);
  expect(count(page)).toBeLessThan(10_000);
  expect(page.children.find(({ name }) => name === 'large')).toMatchObject({ bytes: 10_000_000, layer: 1 });
});

test('text stays text wherever it is, and what runs is named by its digest', async () => {
  const [page] = await pageImages(image, {});
  const evil = `</script><script>alert(1)</script><!--"'&`;
  page!.name = evil;
  page!.layers[0]!.annotations.push([evil, evil]);
  page!.tree!.children[0]!.name = evil;
  page!.layers[0]!.tiles[0]!.files = [evil];
  const html = renderPage([page!]);
  expect(html).not.toContain('alert(1)</script>');
  expect(html.match(/<script/g)).toHaveLength(2);
  expect(html).toContain(escaped(evil));
  expect(html).not.toContain('unsafe-inline');
  const file = join(root, 'page.html');
  await writeFile(file, html);
  expect((await readFile(file)).length).toBeLessThan(1_000_000);
});
