import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { convertImage } from '../../../src/convert/image';
import { checkImage } from '../../../src/image/check/check';
import { formatPlatform, hostPlatform } from '../../../src/oci/platform';
import type { Descriptor, ImageConfig, Index, Manifest } from '../../../src/oci/types';
import { blobPath, readBlob, sha256, writeLayout } from '../../e2e/sample';
import { caught } from '../../support/caught';
import { tarBytes } from '../../support/tar-bytes';

const host = formatPlatform(hostPlatform());
const base = tarBytes([{ name: 'etc/hostname', content: 'sample\n' }, { name: 'etc/motd' }]);
const upper = tarBytes([{ name: 'etc/.wh.hostname' }, { name: 'etc/motd', content: 'hello\n' }]);
const changed = tarBytes([{ name: 'etc/motd', content: 'hallo\n' }]);

let root: string;
let folder: string;
let number = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'check-images-'));
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(async () => {
  folder = join(root, `${number++}`);
  await mkdir(folder);
  await writeLayout(join(folder, 'src'), [base, upper], { platforms: [host] });
});

const oci = (name: string): string => `oci:${join(folder, name)}`;

/** Converts an image of these layers, at another place. */
async function convertOther(name: string, tars: Buffer[]): Promise<string> {
  await writeLayout(join(folder, `${name}-src`), tars, { platforms: [host] });
  await convertImage(oci(`${name}-src`), oci(name), { dmVerity: true, chunkSize: 65_536 });
  return oci(name);
}

/** Changes the one manifest of a layout. */
async function rewriteManifest(name: string, change: (manifest: Manifest) => void): Promise<void> {
  const dir = join(folder, name);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
  const manifest = await readBlob<Manifest>(dir, index.manifests[0]!.digest);
  change(manifest);
  Object.assign(index.manifests[0]!, await putBlob(dir, Buffer.from(JSON.stringify(manifest))));
  await writeFile(join(dir, 'index.json'), JSON.stringify(index));
}

/** Changes the config of the one image of a layout. */
async function rewriteConfig(name: string, change: (config: ImageConfig) => void): Promise<void> {
  const dir = join(folder, name);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
  const manifest = await readBlob<Manifest>(dir, index.manifests[0]!.digest);
  const config = await readBlob<ImageConfig>(dir, manifest.config.digest);
  change(config);
  const put = await putBlob(dir, Buffer.from(JSON.stringify(config)));
  await rewriteManifest(name, ({ config: descriptor }) => Object.assign(descriptor, put));
}

async function putBlob(dir: string, bytes: Buffer): Promise<{ digest: string; size: number }> {
  const digest = sha256(bytes);
  await writeFile(blobPath(dir, digest), bytes);
  return { digest, size: bytes.length };
}

describe('an image that was converted', () => {
  it('has no differences', async () => {
    await convertImage(oci('src'), oci('dst'));
    expect(await checkImage(oci('src'), oci('dst'))).toEqual({
      ok: true,
      entries: 8,
      config: [],
      notCompared: [],
      differences: [],
      summary: { bytes: 13 },
    });
  });

  it('has differences in the layer where they are', async () => {
    const converted = await convertOther('dst', [base, changed]);
    expect((await checkImage(oci('src'), converted)).differences).toEqual([
      { layer: 1, path: '/etc/hostname', field: 'missing', expected: 'char', actual: null },
      {
        layer: 1,
        path: '/etc/motd',
        field: 'content',
        expected: '0x65 at offset 1',
        actual: '0x61 at offset 1',
      },
    ]);
  });

  it('has as many layers', async () => {
    const one = await convertOther('one', [base]);
    const three = await convertOther('three', [base, upper, changed]);
    const fields = async (converted: string) => {
      const { ok, differences } = await checkImage(oci('src'), converted);
      return [ok, ...differences.map(({ layer, path, field }) => [layer, path, field])];
    };
    expect(await fields(one)).toEqual([false, [1, '/', 'missing']]);
    expect(await fields(three)).toEqual([false, [2, '/', 'extra']]);
  });

  it('is compared with another conversion of it', async () => {
    await convertImage(oci('src'), oci('dst'));
    await convertImage(oci('dst'), oci('again'), { chunkSize: 4096, dmVerity: true });
    expect(await checkImage(oci('dst'), oci('again'))).toMatchObject({ ok: true, entries: 8 });
    const other = await convertOther('other', [base, changed]);
    expect(await checkImage(oci('dst'), other)).toMatchObject({ ok: false });
  });

  it('is found in an index beside the image of tars', async () => {
    await convertImage(oci('src'), `${oci('src')}:erofs`);
    const dir = join(folder, 'src');
    const { manifests } = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
    const [os, architecture, variant] = host.split('/') as [string, string, string?];
    const platform = { os, architecture, ...(variant !== undefined && { variant }) };
    const [tar, erofs] = manifests as [Descriptor, Descriptor];
    const index = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        { ...tar, platform },
        { ...erofs, platform: { ...platform, 'os.features': ['erofs'] } },
      ],
    };
    const both = { mediaType: index.mediaType, ...(await putBlob(dir, Buffer.from(JSON.stringify(index)))) };
    await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [both] }));
    expect(await checkImage(oci('src'), oci('src'))).toMatchObject({ ok: true, entries: 8 });
  });

  it('is not the image of tars itself', async () => {
    const { ok, differences } = await checkImage(oci('src'), oci('src'));
    expect(ok).toBe(false);
    expect(differences.map(({ layer, path, field }) => [layer, path, field])).toEqual([
      [0, '/', 'type'],
      [1, '/', 'type'],
    ]);
  });

  it('has a layer that was not converted: it is said that nothing was compared', async () => {
    await convertImage(oci('src'), oci('dst'));
    const foreign = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    await rewriteManifest('src', ({ layers }) => (layers[0]!.mediaType = foreign));
    expect(await checkImage(oci('src'), oci('dst'))).toMatchObject({ ok: true, notCompared: [] });

    const { manifests } = JSON.parse(await readFile(join(folder, 'src', 'index.json'), 'utf8')) as Index;
    const { layers } = await readBlob<Manifest>(join(folder, 'src'), manifests[0]!.digest);
    const bottom = layers[0]!;
    await rewriteManifest('dst', (manifest) => (manifest.layers[0] = bottom));
    expect(await checkImage(oci('src'), oci('dst'))).toMatchObject({
      ok: false,
      notCompared: [bottom.digest],
      differences: [],
    });
    await rewriteManifest(
      'dst',
      (manifest) => (manifest.layers[0] = { ...bottom, digest: layers[1]!.digest }),
    );
    const { differences } = await checkImage(oci('src'), oci('dst'));
    expect(differences).toMatchObject([{ layer: 0, path: '/', field: 'content' }]);
  });

  it('has a layer whose source is away', async () => {
    await convertImage(oci('src'), oci('dst'));
    const foreign = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    let digest = '';
    await rewriteManifest('src', ({ layers }) => {
      layers[0]!.mediaType = foreign;
      digest = layers[0]!.digest;
    });
    await rm(blobPath(join(folder, 'src'), digest));
    const { ok, notCompared, entries } = await checkImage(oci('src'), oci('dst'));
    expect([ok, notCompared, entries]).toEqual([false, [digest], 4]);
  });

  it('has a config that says something else', async () => {
    await convertImage(oci('src'), oci('dst'));
    await rewriteConfig('dst', (config) => {
      config.config = { Cmd: ['/bin/true'], Env: null };
      config['os.features']!.push('win32k');
    });
    const { ok, config, differences } = await checkImage(oci('src'), oci('dst'));
    expect([ok, differences]).toEqual([false, []]);
    expect(config).toEqual([
      { field: 'Cmd', expected: null, actual: ['/bin/true'] },
      { field: 'os.features', expected: null, actual: ['win32k'] },
    ]);
  });

  it('has what conversions change of a config on purpose', async () => {
    const history = [{ created_by: 'a' }, { created_by: 'none', empty_layer: true }, { created_by: 'b' }];
    await rewriteConfig('src', (config) => Object.assign(config, { history, container: 'x', id: 'y' }));
    await convertImage(oci('src'), oci('dst'), { profile: 'erofs-image-spec', index: 'standalone' });
    expect(await checkImage(oci('src'), oci('dst'))).toMatchObject({ ok: true, config: [] });
    await rewriteConfig('dst', (config) => (config.history![0]!.created_by = 'c'));
    const { config } = await checkImage(oci('src'), oci('dst'));
    expect(config.map(({ field }) => field)).toEqual(['history']);
  });
});

describe('what proves nothing', () => {
  it('is a source that is not what its digest says', async () => {
    await convertImage(oci('src'), oci('dst'));
    await rewriteManifest('src', ({ layers }) => (layers[0]!.digest = layers[1]!.digest));
    const { exitCode } = await caught(() => checkImage(oci('src'), oci('dst')));
    expect(exitCode).toBe(3);
  });

  it('is a source whose DiffIDs are of something else', async () => {
    await convertImage(oci('src'), oci('dst'));
    await rewriteManifest('src', ({ layers }) => layers.reverse());
    expect(await caught(() => checkImage(oci('src'), oci('dst')))).toMatchObject({ code: 'MISMATCH' });
  });

  it('is a platform that one side has not', async () => {
    await convertImage(oci('src'), oci('dst'));
    const other = host === 'linux/arm64' ? 'linux/amd64' : 'linux/arm64';
    const error = await caught(() => checkImage(oci('src'), oci('dst'), { platforms: [other] }));
    expect(error).toMatchObject({ code: 'NOT_FOUND' });
  });
});
