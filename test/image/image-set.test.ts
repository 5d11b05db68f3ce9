import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openImageSet, type ImageSet, type PlatformSelection } from '../../src/image/image-set';
import { omit } from '../../src/oci/json';
import { openSource } from '../../src/store/open';
import { host, hostName, LayoutBuilder, type Descriptor } from '../conformance/support/image';
import { caught } from '../support/caught';

// Images out of an index whose entries don't say their platforms: their configs do, as containerd reads them.

const other = { os: 'linux', architecture: 's390x' };

let folder: string;
let builder: LayoutBuilder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'images-'));
  builder = new LayoutBuilder(folder);
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const image = (platform: typeof host): Descriptor => builder.image([], { platform });
const bare = (platform: typeof host): Descriptor => omit(image(platform), 'platform');

async function open(entries: Descriptor[], selection: PlatformSelection = {}): Promise<ImageSet> {
  builder.name(builder.index(entries));
  const { store, reference } = await openSource(`oci:${folder}`);
  try {
    return await openImageSet(store, reference, selection);
  } finally {
    await store.close();
  }
}
const platformsOf = ({ images }: ImageSet): string[] => images.map(({ platform }) => platform);

test('the config says the platform', async () => {
  const entries = [bare(other), bare(host)];
  const set = await open(entries);
  expect(set.images.map(({ descriptor }) => descriptor)).toEqual([entries[1]]);
  expect(set.others).toEqual([entries[0]]);
  expect(platformsOf(await open(entries, { platforms: ['linux/s390x', hostName] }))).toEqual([
    'linux/s390x',
    hostName,
  ]);
  expect(platformsOf(await open(entries, { allPlatforms: true }))).toEqual(['linux/s390x', hostName]);
  const error = await caught(() => open(entries, { platforms: ['linux/riscv64'] }));
  expect(error).toMatchObject({ code: 'NOT_FOUND', hint: `there is linux/s390x, ${hostName}` });
});

test('entries that say theirs go before', async () => {
  const named = image(host);
  const set = await open([bare(host), named]);
  expect(set.images.map(({ descriptor }) => descriptor)).toEqual([named]);
  expect(platformsOf(await open([bare(other), named], { platforms: ['linux/s390x'] }))).toEqual([
    'linux/s390x',
  ]);
});

test('the only image is taken for what it is, unless a platform was named', async () => {
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const config = builder.put('application/vnd.cncf.helm.config.v1+json', {});
  const chart = builder.put(type, { schemaVersion: 2, mediaType: type, config, layers: [] });
  expect(platformsOf(await open([chart, bare(other)]))).toEqual(['linux/s390x']);
  expect((await caught(() => open([chart, bare(other)], { platforms: [hostName] }))).code).toBe('NOT_FOUND');
  expect((await caught(() => open([chart]))).code).toBe('NOT_FOUND');
});
