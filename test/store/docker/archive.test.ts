import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openImageSet } from '../../../src/image/image-set';
import { omit } from '../../../src/oci/json';
import { openSource } from '../../../src/store/open';
import { caught } from '../../support/caught';
import {
  archiveOf,
  classicArchive,
  configOf,
  layerOf,
  layoutArchive,
  sha256,
  v1Archive,
  type ArchiveMembers,
} from './docker-archives';

let folder: string;
let layers: Buffer[];
let number = 0;
let path: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'docker-archive-'));
  layers = [await layerOf('bottom'), await layerOf('top')];
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  path = join(folder, `${number++}.tar`);
});

interface ReadImage {
  layers: Buffer[];
  mediaTypes: string[];
  digests: string[];
  config: Record<string, unknown>;
}

/** The image that `reference` names, read as a conversion does. */
async function read(members: ArchiveMembers | Buffer, reference = ''): Promise<ReadImage> {
  writeFileSync(path, Buffer.isBuffer(members) ? members : await archiveOf(members));
  const { store, reference: name } = await openSource(`docker-archive:${path}${reference}`);
  try {
    const [image] = (await openImageSet(store, name, {})).images;
    const { manifest, config } = image!;
    const read: Buffer[] = [];
    for (const layer of manifest.layers) {
      const file = await store.openFile(layer);
      read.push(await file.read(0, file.size));
      await file.close();
    }
    const mediaTypes = manifest.layers.map(({ mediaType }) => mediaType.replace(/^.*\.layer\.v1\./, ''));
    const digests = manifest.layers.map(({ digest }) => digest);
    return { layers: read, mediaTypes, digests, config: config as unknown as Record<string, unknown> };
  } finally {
    await store.close();
  }
}

const digestsOf = (blobs: Buffer[]): string[] => blobs.map((blob) => `sha256:${sha256(blob)}`);

describe('an archive of docker save', () => {
  it('of Docker 1.10 to 24 has folders of layers and manifest.json', async () => {
    const image = await read(classicArchive(layers, ['app:v1']));
    expect(image.layers).toEqual(layers);
    expect(image.mediaTypes).toEqual(['tar', 'tar']);
    expect(image.digests).toEqual(digestsOf(layers));
    expect(image.config).toMatchObject({ config: { Cmd: ['sh'] } });
  });

  it('may have a layer twice, as a link to the first', async () => {
    const [bottom, top] = layers as [Buffer, Buffer];
    const image = await read(classicArchive([bottom, top, bottom], ['app:v1']));
    expect(image.layers).toEqual([bottom, top, bottom]);
  });

  it('may have hard links and absolute names', async () => {
    const members = classicArchive([layers[0]!], ['app:v1']);
    const [layer] = Object.keys(members).filter((name) => name.endsWith('/layer.tar'));
    members['shared.tar'] = layers[0]!;
    members[layer!] = { hard: './shared.tar' };
    expect((await read(members)).layers).toEqual([layers[0]]);
  });

  it('may have compressed layers, whose digests are computed', async () => {
    const image = await read(classicArchive(layers, ['app:v1'], { gzip: true }));
    expect(image.mediaTypes).toEqual(['tar+gzip', 'tar+gzip']);
    expect(image.digests).toEqual(digestsOf(image.layers));
    expect(image.layers).toEqual(layers.map((layer) => gzipSync(layer)));
  });

  it('of Docker before 1.10 has no config: one is made of the layers', async () => {
    const image = await read(v1Archive(layers, ['app:v1']), ':app:v1');
    expect(image.layers).toEqual(layers);
    expect(image.config).toEqual({
      created: '2014-01-02T00:00:00Z',
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['A=b'] },
      rootfs: { type: 'layers', diff_ids: digestsOf(layers) },
      history: [
        { created: '2014-01-01T00:00:00Z', created_by: '/bin/sh -c step 0' },
        { created: '2014-01-02T00:00:00Z', created_by: '/bin/sh -c step 1' },
      ],
    });
  });

  it('of Docker before 1.10, saved by an ID, has not even repositories', async () => {
    const members = v1Archive(layers, []);
    members[`${sha256('layer 1')}/layer.tar`] = gzipSync(layers[1]!);
    const image = await read(members);
    expect(image.mediaTypes).toEqual(['tar', 'tar+gzip']);
    expect(image.config).toMatchObject({ rootfs: { diff_ids: digestsOf(layers) } });
  });

  it('of Docker 25 and later is an image layout as well, with its descriptors', async () => {
    const image = await read(layoutArchive(layers, ['app:v1']), ':app:v1');
    expect(image.layers).toEqual(layers);
    expect(image.digests).toEqual(digestsOf(layers));
  });

  it('may be compressed', async () => {
    const archive = gzipSync(await archiveOf(classicArchive(layers, ['app:v1'])));
    expect((await read(archive)).layers).toEqual(layers);
  });
});

describe('a reference', () => {
  const two = (): ArchiveMembers => {
    const a = classicArchive([layers[0]!], ['app:v1', 'docker.io/library/app:latest']);
    const b = classicArchive([layers[1]!], ['host:5000/b:v2']);
    const entry = (members: ArchiveMembers) =>
      (JSON.parse(members['manifest.json'] as string) as object[])[0]!;
    const second = { ...entry(b), Layers: ['second.tar'] };
    const manifest = JSON.stringify([entry(a), second]);
    return { ...a, ...b, ...a, 'second.tar': layers[1]!, 'manifest.json': manifest };
  };

  it.each([
    [':app:v1', 0],
    [':app', 0],
    [':docker.io/library/app:v1', 0],
    [':host:5000/b:v2', 1],
    [':@0', 0],
    [':@1', 1],
  ])('%s names an image', async (reference, place) => {
    expect((await read(two(), reference)).layers).toEqual([layers[place]]);
  });

  it.each(['', ':app:v3', ':@2', ':host:5000/b'])(
    '"%s" names none, and the error says which there are',
    async (reference) => {
      const error = await caught(() => read(two(), reference));
      expect([error.code, error.hint]).toEqual([
        'NOT_FOUND',
        'there is app:v1, docker.io/library/app:latest, host:5000/b:v2',
      ]);
    },
  );
});

describe('a hostile archive', () => {
  const first = '0'.repeat(64);
  const manifest = (entry: object): ArchiveMembers => ({
    'config.json': configOf(layers),
    'a.tar': layers[0]!,
    'b.tar': layers[1]!,
    'manifest.json': JSON.stringify([
      { Config: 'config.json', RepoTags: ['app:v1'], Layers: ['a.tar', 'b.tar'], ...entry },
    ]),
  });
  const v1 = (json: object, more: ArchiveMembers = {}): ArchiveMembers => ({
    [`${first}/json`]: JSON.stringify(json),
    [`${first}/layer.tar`]: 'x',
    repositories: JSON.stringify({ app: { v1: first } }),
    ...more,
  });

  it.each<[string, () => ArchiveMembers, string]>([
    [
      'a circle of links',
      () => ({ ...manifest({}), 'a.tar': { link: 'c.tar' }, 'c.tar': { link: 'a.tar' } }),
      'CORRUPT',
    ],
    ['a link to itself', () => ({ ...manifest({}), 'a.tar': { link: 'a.tar' } }), 'CORRUPT'],
    [
      'a link out of the archive',
      () => ({ ...manifest({}), 'a.tar': { link: '../../../etc/passwd' } }),
      'CORRUPT',
    ],
    ['an absolute link', () => ({ ...manifest({}), 'a.tar': { link: '/etc/passwd' } }), 'CORRUPT'],
    [
      'a layer out of the archive',
      () => manifest({ Layers: ['../../../../etc/passwd', 'b.tar'] }),
      'CORRUPT',
    ],
    ['an absolute layer', () => manifest({ Layers: ['/etc/passwd', 'b.tar'] }), 'CORRUPT'],
    ['a missing layer', () => manifest({ Layers: ['a.tar', 'c.tar'] }), 'CORRUPT'],
    ['a layer that is a folder', () => ({ ...manifest({ Layers: ['a.tar', 'c'] }), 'c/': '' }), 'CORRUPT'],
    ['fewer layers than DiffIDs', () => manifest({ Layers: ['a.tar'] }), 'CORRUPT'],
    ['layers that are no list', () => manifest({ Layers: 'a.tar' }), 'CORRUPT'],
    ['layers that are no strings', () => manifest({ Layers: [1, 2] }), 'CORRUPT'],
    ['a config out of the archive', () => manifest({ Config: '/etc/passwd' }), 'CORRUPT'],
    ['no config', () => manifest({ Config: undefined }), 'CORRUPT'],
    ['a config that is no JSON', () => ({ ...manifest({}), 'config.json': '{' }), 'CORRUPT'],
    [
      'a config without DiffIDs',
      () => ({ ...manifest({}), 'config.json': '{"os":"linux","architecture":"amd64"}' }),
      'CORRUPT',
    ],
    ['a manifest.json that is no list', () => ({ 'manifest.json': '{}' }), 'CORRUPT'],
    ['a manifest.json that is no JSON', () => ({ 'manifest.json': '[' }), 'CORRUPT'],
    ['nothing that is an image', () => ({ 'etc/passwd': 'x' }), 'NOT_FOUND'],
    ['a v1 layer below itself', () => v1({ id: first, parent: first }), 'CORRUPT'],
    ['a v1 parent out of the archive', () => v1({ id: first, parent: '../../etc' }), 'CORRUPT'],
    ['a missing v1 parent', () => v1({ id: first, parent: '1'.repeat(64) }), 'CORRUPT'],
    [
      'a v1 layer without a tar',
      () => v1({ id: first }, { [`${first}/layer.tar`]: { link: 'no' } }),
      'CORRUPT',
    ],
    [
      'v1 tags that are no IDs',
      () => v1({ id: first }, { repositories: '{"app":{"v1":"../x"}}' }),
      'CORRUPT',
    ],
  ])('with %s is refused', async (_what, members, code) => {
    expect((await caught(() => read(members()))).code).toBe(code);
  });

  it('in which manifest.json and index.json say different things is refused', async () => {
    const members = layoutArchive(layers, ['app:v1']);
    const other = layoutArchive([layers[0]!], ['app:v1']);
    for (const name of ['manifest.json', 'index.json']) {
      const error = await caught(() => read({ ...other, ...members, [name]: other[name]! }));
      expect([error.code, error.hint]).toEqual(['MISMATCH', 'oci-archive: reads what index.json says']);
    }
  });

  it('in which only the order of layers differs from index.json is refused', async () => {
    const members = layoutArchive(layers, ['app:v1']);
    const [entry] = JSON.parse(members['manifest.json'] as string) as { Layers: string[] }[];
    members['manifest.json'] = JSON.stringify([{ ...entry, Layers: entry!.Layers.toReversed() }]);
    expect((await caught(() => read(members))).code).toBe('MISMATCH');
  });

  it('that is an image layout alone is sent to oci-archive:', async () => {
    const members = omit(layoutArchive(layers, []), 'manifest.json');
    const error = await caught(() => read(members));
    expect([error.code, error.hint]).toEqual(['NOT_FOUND', 'it is an image layout: oci-archive:']);
  });
});
