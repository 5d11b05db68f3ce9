import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { convertImage } from '../../src/convert/image';
import { checkImage } from '../../src/image/check/check';
import { listImage } from '../../src/image/list';
import { verifyImage } from '../../src/image/verify';
import { buildErofs } from '../../src/layer/build';
import { decodeBlob } from '../../src/layer/decode-blob';
import { digestOf, LayoutBuilder } from './support/image';
import { refusal } from '../support/refusal';
import { checkSpecLayout } from '../support/spec-checker';
import { writeSpecBlob, type SpecChoices } from '../support/spec-writer';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
let image: Buffer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spec-layers-'));
  writeFileSync(join(folder, 'tar'), tarBytes([{ name: 'file', content: 'text'.repeat(20_000) }]));
  await buildErofs(join(folder, 'tar'), join(folder, 'image'));
  image = readFileSync(join(folder, 'image'));
});
afterAll(() => rm(folder, { recursive: true }), 60_000);
const layout = (name: string): string => join(folder, name);
const ref = (name: string): string => `oci:${layout(name)}:image`;
const spec = { profile: 'erofs-image-spec', chunkSize: 65_536 } as const;

let made = 0;
async function convert(options: ConvertOptions, from: string) {
  const name = `converted-${++made}`;
  return { name, result: await convertImage(ref(from), ref(name), options) };
}

const raw = 'application/vnd.erofs';
const zstd = 'application/vnd.erofs+zstd';

/** No index, since nothing puts the lone one into the image. */
function withTree(compression: 'none' | 'zstd'): SpecChoices {
  return {
    chunkSize: 4096,
    compression,
    index: 'standalone',
    verity: { algorithm: 'sha256', blockSize: 4096 },
  };
}

/** An image of one layer. */
function nameImage(
  name: string,
  mediaType: string,
  blob: Buffer,
  annotations: Record<string, string>,
  diffId: string,
): void {
  const builder = new LayoutBuilder(layout(name));
  builder.name(builder.image([{ descriptor: { ...builder.put(mediaType, blob), annotations }, diffId }]));
}

describe('layers of another writer', () => {
  test('without an index are ordinary ones', async () => {
    const diffId = digestOf(image);
    const said = { 'org.erofs.uncompressed-digest': diffId };
    nameImage('bare', raw, image, said, diffId);
    expect(await verifyImage(ref('bare'))).toMatchObject({ ok: true, layers: [{ diffId, frames: 0 }] });
    expect((await listImage(ref('bare'), '/file', {})).length).toBe(1);
    const { result } = await convert({ ...spec }, 'bare');
    expect(result.manifests[0]!.layers[0]).toMatchObject({ diffId, reused: false });
  });

  test('without an index have their tree checked, and keep one', async () => {
    const { blob, annotations, diffId } = writeSpecBlob(image, withTree('none'));
    nameImage('tree', raw, blob, annotations, diffId);
    expect(await verifyImage(ref('tree'))).toMatchObject({ ok: true, layers: [{ diffId, merkle: 'ok' }] });
    expect((await listImage(ref('tree'), '/file', {})).length).toBe(1);
    const { result } = await convert({ profile: 'containerd' }, 'tree');
    expect(result.manifests[0]!.layers[0]!.diffId).toBe(digestOf(image));
    expect(await verifyImage(result.destination)).toMatchObject({ ok: true, layers: [{ merkle: 'ok' }] });

    // What containerd's cache gets is the image alone.
    await convertImage(ref('tree'), `erofs-cache:${layout('cache')}`, {});
    const hex = diffId.slice('sha256:'.length);
    expect(readFileSync(join(layout('cache'), 'sha256', hex.slice(0, 2), `${hex}.erofs`)).equals(image)).toBe(
      true,
    );

    const wrong = { ...annotations, 'org.erofs.dmverity.root_digest': digestOf(image) };
    nameImage('tree', raw, blob, wrong, diffId);
    expect(await verifyImage(ref('tree'))).toMatchObject({ ok: false });
    await expect(convert({ ...spec }, 'tree')).rejects.toMatchObject({ exitCode: 3 });
  });

  test('in frames without an index are not verifiable, and read whole when that is allowed', async () => {
    const { blob, annotations, diffId } = writeSpecBlob(image, withTree('zstd'));
    nameImage('frames', zstd, blob, annotations, diffId);
    const { ok, layers } = await verifyImage(ref('frames'));
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('without a chunk table')]);
    await expect(listImage(ref('frames'), '/', {})).rejects.toThrow(refusal('UNVERIFIED'));
    const allowUnverified = true;
    expect(await verifyImage(ref('frames'), { allowUnverified })).toMatchObject({
      ok: true,
      layers: [{ diffId, merkle: 'ok' }],
    });
    expect((await listImage(ref('frames'), '/file', { allowUnverified })).length).toBe(1);
    const { result } = await convert({ profile: 'containerd' }, 'frames');
    expect(result.manifests[0]!.layers[0]!.diffId).toBe(digestOf(image));
    expect(await checkImage(ref('frames'), result.destination, { allowUnverified })).toMatchObject({
      ok: true,
    });
  });

  test('with a tree that has no superblock are plain data, unless the tree is asked for', async () => {
    const { data, annotations } = writeSpecBlob(image, withTree('none'));
    const bare = Buffer.concat([data.subarray(0, image.length), data.subarray(image.length + 4096)]);
    const diffId = digestOf(bare);
    const said = { ...annotations, 'org.erofs.uncompressed-digest': diffId };
    nameImage('bare-tree', raw, bare, said, diffId);
    const { ok, layers } = await verifyImage(ref('bare-tree'));
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('no superblock')]);
    expect(await verifyImage(ref('bare-tree'), { allowUnverified: true })).toMatchObject({ ok: true });
    expect((await listImage(ref('bare-tree'), '/file', {})).length).toBe(1);
    const { result } = await convert({ profile: 'containerd' }, 'bare-tree');
    expect(await verifyImage(result.destination)).toMatchObject({ ok: true, layers: [{ merkle: 'ok' }] });

    writeFileSync(layout('bare.blob'), bare);
    const descriptor = { mediaType: raw, digest: diffId, size: bare.length, annotations: said };
    const decode = (dmVerity: boolean) =>
      decodeBlob(layout('bare.blob'), layout('bare.out'), { descriptor, dmVerity });
    expect(await decode(false)).toMatchObject({ diffId, size: image.length });
    await expect(decode(true)).rejects.toThrow(refusal('CORRUPT', 'no superblock'));
  });

  test('have the DiffID that their annotation says, whatever the config does', async () => {
    for (const mediaType of [raw, zstd]) {
      const compression = mediaType === raw ? 'none' : 'zstd';
      const how = { chunkSize: 4096, compression, index: 'embedded', verity: null } as const;
      const { blob, annotations, diffId } = writeSpecBlob(image, how);
      expect(diffId === digestOf(blob)).toBe(mediaType === raw);
      nameImage('said', mediaType, blob, annotations, digestOf(Buffer.from('else')));
      expect(await verifyImage(ref('said'))).toMatchObject({ ok: true, layers: [{ diffId }] });
      const { name, result } = await convert({ profile: 'erofs-image-spec' }, 'said');
      expect(result.manifests[0]!.layers[0]).toMatchObject({ diffId, reused: true });
      expect(checkSpecLayout(layout(name)).faults).toEqual([]);

      const wrong = { ...annotations, 'org.erofs.uncompressed-digest': digestOf(image.subarray(1)) };
      nameImage('said', mediaType, blob, wrong, diffId);
      expect(await verifyImage(ref('said'))).toMatchObject({ ok: false });
    }
  });

  test('whose index is of a kind that is not known are read without it', async () => {
    for (const mediaType of [raw, zstd]) {
      const compression = mediaType === raw ? 'none' : 'zstd';
      const how = { ...withTree(compression), index: 'embedded' } as const;
      const { blob, annotations } = writeSpecBlob(image, how);
      const start = Number(annotations['org.erofs.chunk-index.range']!.split(':')[0]);
      const changed = Buffer.from(blob);
      const at = start + (mediaType === raw ? 0 : 8);
      changed[at + 4] = 2; // the version
      const digest = digestOf(changed.subarray(at));
      const later: Record<string, string> = { ...annotations, 'org.erofs.chunk-index.digest': digest };
      if (mediaType === raw) later['org.erofs.uncompressed-digest'] = digestOf(changed);
      const other: Record<string, string> = {
        ...annotations,
        'org.erofs.chunk-index.mediaType': 'application/x-other',
      };
      const cases = [
        [changed, later, false],
        [blob, other, mediaType === zstd],
      ] as const;
      for (const [bytes, said, mustAllow] of cases) {
        nameImage('odd-index', mediaType, bytes, said, said['org.erofs.uncompressed-digest']!);
        const options = { allowUnverified: mustAllow };
        expect(await verifyImage(ref('odd-index'), options)).toMatchObject({
          ok: true,
          layers: [{ frames: 0, merkle: 'ok' }],
        });
        expect((await listImage(ref('odd-index'), '/file', options)).length).toBe(1);
        expect((await convert({ ...spec }, 'odd-index')).result.manifests[0]!.layers[0]!.reused).toBe(false);
      }
    }
  });

  test('must be what their media type and their block size say', async () => {
    const { blob, annotations, diffId } = writeSpecBlob(image, { ...withTree('none'), index: 'embedded' });
    nameImage('contrary', zstd, blob, annotations, diffId);
    expect((await verifyImage(ref('contrary'))).layers[0]!.error).toContain('the media type is');
    const said = { ...annotations, 'org.erofs.dmverity.block_size': '1024' };
    nameImage('contrary', raw, blob, said, diffId);
    expect((await verifyImage(ref('contrary'))).layers[0]!.error).toContain('its descriptor says 1024');
  });
});
