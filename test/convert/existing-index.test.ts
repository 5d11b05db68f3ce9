import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { LayoutSource } from '../../src/store/layout/source';
import {
  LayoutBuilder,
  host,
  hostName,
  oci,
  other,
  type Descriptor,
  type Layer,
} from '../conformance/support/image';
import { makeTar } from '../e2e/sample';
import { at, useFolders } from '../e2e/workspace';
import { caught } from '../support/caught';

// A conversion onto a name that stands for an index, with manifests that would be lost.

useFolders();

let builder: LayoutBuilder;
let layers: Layer[];
let images: Descriptor[];
beforeEach(async () => {
  builder = new LayoutBuilder(at('layout'));
  layers = await Promise.all(
    ['one', 'two'].map(async (content) => builder.tarLayer(await makeTar([{ name: 'f', content }]))),
  );
  images = [host, other].map((platform) => builder.image([layers[0]!], { platform }));
});
afterEach(() => {
  vi.restoreAllMocks();
});

const layout = (name: string): string => `oci:${at('layout')}:${name}`;
/** Converts within one layout, as within one repository. */
const convert = (options: ConvertOptions = {}, from = 'image', to = 'image') =>
  convertImage(layout(from), layout(to), options);
const indexJson = (): string => readFileSync(at('layout/index.json'), 'utf8');
const named = (): Descriptor[] => (JSON.parse(indexJson()) as { manifests: Descriptor[] }).manifests;

describe('an index converted onto itself', () => {
  beforeEach(() => {
    builder.name(builder.index(images));
  });

  test('is refused for one platform, before anything is read, and names the ways out', async () => {
    const before = indexJson();
    const files = vi.spyOn(LayoutSource.prototype, 'openFile');
    const error = await caught(() => convert());
    expect(error).toMatchObject({
      code: 'USAGE',
      what: layout('image'),
      why: expect.stringContaining(`linux/s390x ${images[1]!.digest}`) as string,
      hint: expect.stringMatching(/--all-platforms.*--append-to-index.*--replace/) as string,
    });
    expect(files).not.toHaveBeenCalled();
    expect(indexJson()).toBe(before);
  });

  test.each<ConvertOptions>([
    { allPlatforms: true },
    { appendToIndex: true },
    { replace: true },
    { platforms: [hostName, 'linux/s390x'] },
  ])('is not with %j', async (options) => {
    const { digest } = await convert(options);
    expect(named()[0]!.digest).toBe(digest);
    expect((await convert(options)).digest).toBe(digest);
  });

  test('attestations aside', async () => {
    const platform = { os: 'unknown', architecture: 'unknown' };
    builder.name(
      builder.index([images[0]!, { ...builder.image([layers[1]!], { platform: other }), platform }]),
    );
    await convert();
  });
});

test('a tar beside what it became would be lost, whatever the platforms', async () => {
  builder.name(builder.index([images[0]!]));
  const appended = await convert({ appendToIndex: true });
  for (const options of [{}, { allPlatforms: true }]) {
    expect(await caught(() => convert(options))).toMatchObject({
      code: 'USAGE',
      why: expect.stringContaining(images[0]!.digest) as string,
    });
  }
  expect((await convert({ appendToIndex: true })).digest).toBe(appended.digest);
  expect((await convert({ appendToIndex: true, allPlatforms: true })).digest).toBe(appended.digest);
  const verity: ConvertOptions = { appendToIndex: true, allPlatforms: true, dmVerity: true };
  const anew = await convert(verity);
  expect(anew.manifests).toHaveLength(1);
  expect((await convert(verity)).digest).toBe(anew.digest);
  await convert({ replace: true });
});

test('another image for the same platform would be lost: seen when it is converted, and nothing is written', async () => {
  const single = builder.image([layers[1]!]);
  builder.names({ image: builder.index([images[0]!]), single });
  const before = indexJson();
  expect((await caught(() => convert({}, 'single'))).code).toBe('USAGE');
  expect(indexJson()).toBe(before);
  await convert({ replace: true }, 'single');
});

test('the same conversion again is not refused, nor a name that stands for one manifest', async () => {
  builder.names({ image: builder.index(images), single: builder.image([layers[1]!]) });
  await convert({ allPlatforms: true }, 'image', 'dst');
  await convert({ allPlatforms: true }, 'image', 'dst');
  await convert({}, 'image', 'single');
  await convert({}, 'single', 'single');
});

test('nested indexes count by what they hold', async () => {
  builder.name(builder.index([builder.index([images[0]!]), images[1]!]));
  expect((await caught(() => convert())).code).toBe('USAGE');
  await convert({ allPlatforms: true });
});

test('without a name, only an index without one is replaced', async () => {
  builder.name(builder.index(images));
  await convertImage(layout('image'), `oci:${at('layout')}`);
  expect(named().map(({ mediaType }) => mediaType)).toEqual([oci.index, oci.manifest]);
});
