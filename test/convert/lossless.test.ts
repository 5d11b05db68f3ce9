import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { digestOf } from '../../src/format/digest';
import { blobPath, makeTar, sha256, writeLayout } from '../e2e/sample';

/** What JavaScript's own JSON changes, and what this program does not know. */
const oddMember =
  '"x-odd":{"big":12345678901234567890,"float":1.0,"exp":1E400,"list":[-0,null,{"deep":9007199254740993}]}';

let root: string;
let number = 0;
let tar: Buffer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lossless-'));
  tar = await makeTar([{ name: 'file', content: 'content' }]);
  await writeSource(join(root, 'src'));
});
afterAll(() => rm(root, { recursive: true }));

/** A layout of an index, a manifest, a config and a layer, each with members that are odd. */
async function writeSource(dir: string, odd = oddMember): Promise<void> {
  await writeLayout(dir, [tar]); // for its folders
  const put = async (mediaType: string, bytes: Buffer | string): Promise<string> => {
    const content = Buffer.from(bytes);
    const digest = digestOf(content);
    await writeFile(blobPath(dir, digest), content);
    return `"mediaType":"${mediaType}","digest":"${digest}","size":${content.length}`;
  };
  const oci = 'application/vnd.oci.image';
  const layer = await put(`${oci}.layer.v1.tar`, tar);
  const config = await put(
    `${oci}.config.v1+json`,
    `{"os":"linux","architecture":"amd64","config":{"StopTimeout":1e2,${odd}},` +
      `"rootfs":{"type":"layers","diff_ids":["${sha256(tar)}"],${odd}},"history":[{"created_by":"me",${odd}}],${odd}}`,
  );
  const manifest = await put(
    `${oci}.manifest.v1+json`,
    `{"schemaVersion":2,"mediaType":"${oci}.manifest.v1+json","config":{${config},${odd}},"layers":[{${layer},${odd}}],${odd}}`,
  );
  const platform = `"platform":{"os":"linux","architecture":"amd64",${odd}}`;
  const index = await put(
    `${oci}.index.v1+json`,
    `{"schemaVersion":2,"mediaType":"${oci}.index.v1+json","manifests":[{${manifest},${platform},${odd}}],${odd}}`,
  );
  const named = `"annotations":{"org.opencontainers.image.ref.name":"app"}`;
  await writeFile(
    join(dir, 'index.json'),
    `{"schemaVersion":2,"manifests":[{${index},${named},${odd}}],${odd}}`,
  );
}

const textOf = (dir: string, digest: string): Promise<string> => readFile(blobPath(dir, digest), 'utf8');
const oddIn = (text: string, odd = oddMember): number => text.split(odd).length - 1;

interface Part {
  digest: string;
}

/** How many odd members the documents of an image have. */
async function oddMembers(dir: string, root: string, odd = oddMember) {
  const found = { index: 0, manifest: 0, config: 0 };
  const visit = async (digest: string): Promise<void> => {
    const text = await textOf(dir, digest);
    const { manifests, config } = JSON.parse(text) as { manifests?: Part[]; config?: Part };
    if (manifests !== undefined) found.index += oddIn(text, odd);
    for (const part of manifests ?? []) await visit(part.digest);
    if (config === undefined) return;
    found.manifest += oddIn(text, odd);
    found.config += oddIn(await textOf(dir, config.digest), odd);
  };
  await visit(root);
  return found;
}

describe('numbers and unknown members come out as they went in', () => {
  const one = { manifest: 3, config: 4 };
  test.each<[string, ConvertOptions, object]>([
    ['one platform', {}, { index: 0, ...one }],
    ['all platforms', { allPlatforms: true }, { index: 3, ...one }],
    ['all platforms with --os-features', { allPlatforms: true, osFeatures: true }, { index: 3, ...one }],
    ['--append-to-index', { appendToIndex: true }, { index: 5, manifest: 6, config: 8 }],
    ['profile erofs-image-spec', { profile: 'erofs-image-spec', index: 'standalone' }, { index: 0, ...one }],
  ])('%s', async (_, options, wanted) => {
    const dir = join(root, `${number++}`);
    const platforms = options.allPlatforms === true ? {} : { platforms: ['linux/amd64'] };
    const { digest } = await convertImage(`oci:${join(root, 'src')}`, `oci:${dir}:app`, {
      ...platforms,
      ...options,
    });
    expect(await oddMembers(dir, digest!)).toEqual(wanted);
    // Once more, into what is there: to another index of the same tag, and with nothing to do.
    const again = await convertImage(`oci:${dir}:app`, `oci:${dir}:app`, { ...platforms, ...options });
    expect(again.digest).toBe(digest);
  });

  test('in the index.json that an image is added to', async () => {
    const dir = join(root, `${number++}`);
    await writeSource(dir);
    await convertImage(`oci:${dir}:app`, `oci:${dir}:new`, { platforms: ['linux/amd64'] });
    const text = await readFile(join(dir, 'index.json'), 'utf8');
    expect([oddIn(text), text.includes('"new"')]).toEqual([2, true]);
  });

  test('from the cache of layers as well, each layer its own', async () => {
    const cache = join(root, 'cache');
    for (const odd of [oddMember, oddMember.replace('67890,', '67891,'), oddMember]) {
      const from = join(root, `${number++}`);
      await writeSource(from, odd);
      const to = join(root, `${number++}`);
      const options = { cache, platforms: ['linux/amd64'] };
      const { digest } = await convertImage(`oci:${from}`, `oci:${to}:app`, options);
      expect(await oddMembers(to, digest!, odd)).toEqual({ index: 0, ...one });
    }
  });
});
