import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { containerdAnnotations } from '../../src/format/annotations';
import { digestOf } from '../../src/format/digest';
import { verifyImage } from '../../src/image/verify';
import { LayoutBuilder } from '../conformance/support/image';
import { refusal } from '../support/refusal';
import { goldenBlob } from '../support/sealed-blob';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verify-'));
});
afterAll(() => rm(folder, { recursive: true }));

const mediaType = 'application/vnd.erofs.layer.v1+zstd';

/** Verifies a blob against a descriptor with these annotations, which is right otherwise. */
async function verifyBlob(blob: Buffer, annotations: Record<string, string>) {
  const path = join(folder, 'blob');
  await writeFile(path, blob);
  const descriptor = { mediaType, digest: digestOf(blob), size: blob.length, annotations };
  return verifyImage(path, { descriptor });
}

/** An image of one layer of these bytes. */
function nameImage(name: string, mediaType: string, bytes: Buffer, diffId: string, change: object = {}) {
  const builder = new LayoutBuilder(join(folder, name));
  const descriptor = { ...builder.put(mediaType, bytes), ...change };
  builder.name(builder.image([{ descriptor, diffId }]));
  return `oci:${join(folder, name)}`;
}

describe('what was not verified is not said to be', () => {
  const { blob, image, inspect } = goldenBlob('mib.c65536.v4096');
  const frames = blob.subarray(0, inspect.table_offset);
  const tar = tarBytes([{ name: 'file', content: 'text' }]);
  const foreign = 'application/vnd.oci.image.layer.nondistributable.v1.tar';

  it('of EROFS in zstd without a table, which is named for what it is', async () => {
    const ref = nameImage('frames', mediaType, frames, digestOf(image));
    const { ok, layers } = await verifyImage(ref);
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringMatching(/EROFS in zstd .*see convert/)]);
    const allowed = await verifyImage(ref, { allowUnverified: true });
    expect(allowed).toMatchObject({ ok: true, layers: [{ diffId: digestOf(image) }] });
    const wrong = nameImage('frames', mediaType, frames, digestOf(blob));
    expect((await verifyImage(wrong, { allowUnverified: true })).ok).toBe(false);
    await convertImage(
      nameImage('frames', mediaType, frames, digestOf(image)),
      `oci:${join(folder, 'made')}`,
    );
    const made = await verifyImage(`oci:${join(folder, 'made')}`);
    expect(made).toMatchObject({ ok: true, layers: [{ diffId: digestOf(image) }] });
  });

  it('of a non-distributable layer that is not here; one that is here is verified', async () => {
    expect(await verifyImage(nameImage('foreign', foreign, tar, digestOf(tar)))).toMatchObject({
      ok: true,
      layers: [{ digest: digestOf(tar), diffId: digestOf(tar) }],
    });
    expect((await verifyImage(nameImage('foreign', foreign, tar, digestOf(image)))).ok).toBe(false);
    const ref = nameImage('foreign', foreign, tar, digestOf(tar));
    await rm(join(folder, 'foreign', 'blobs', 'sha256', digestOf(tar).slice('sha256:'.length)));
    const { ok, layers } = await verifyImage(ref);
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('can not be verified')]);
    const onWarning = vi.fn();
    expect((await verifyImage(ref, { allowUnverified: true, onWarning })).ok).toBe(true);
    expect(onWarning).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('can not be verified'));
  });

  it('of a raw image, by digest, size and DiffID', async () => {
    const type = 'application/vnd.erofs.layer.v1';
    expect(await verifyImage(nameImage('raw', type, image, digestOf(image)))).toMatchObject({
      ok: true,
      layers: [{ frames: 0, chunksVerified: 0, merkle: 'absent' }],
    });
    expect((await verifyImage(nameImage('raw', type, image, digestOf(tar)))).ok).toBe(false);
    const path = join(folder, 'raw.erofs');
    await writeFile(path, image);
    const descriptor = { mediaType: type, digest: digestOf(image), size: image.length + 1 };
    expect((await verifyImage(path, { descriptor })).ok).toBe(false);
  });

  it('of an image of tars, without a warning', async () => {
    const onWarning = vi.fn();
    const ref = nameImage('tars', 'application/vnd.oci.image.layer.v1.tar', tar, digestOf(tar));
    expect(await verifyImage(ref, { onWarning })).toMatchObject({ ok: true });
    expect(onWarning).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('no seekable layer'));
  });

  it('of bytes that are not of their media type', async () => {
    const ref = nameImage('odd', 'application/vnd.erofs.layer.v1', tar, digestOf(tar));
    const { ok, layers } = await verifyImage(ref);
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('media type of EROFS')]);
    const other = nameImage('odd', 'application/octet-stream', noise, digestOf(noise));
    expect((await verifyImage(other)).ok).toBe(false);
    const role = { annotations: { 'org.erofs.role': 'device' } };
    const device = nameImage('odd', 'application/octet-stream', noise, digestOf(noise), role);
    await expect(verifyImage(device)).rejects.toThrow(refusal('CORRUPT', 'rule "last-entry"'));
  });

  const noise = Buffer.from('no layer at all '.repeat(100));
});

describe('a blob that the reference refuses', () => {
  const { blob, descriptor, inspect } = goldenBlob('mib.c65536.v4096');
  const { annotations } = descriptor;
  const table = blob.subarray(inspect.table_offset + 8).subarray(0, inspect.table_payload_size);

  it('has a table digest that is not of SHA-512', async () => {
    const sha256 = { ...annotations, [containerdAnnotations.tableDigest]: digestOf(table) };
    expect(await verifyBlob(blob, annotations)).toMatchObject({ ok: true });
    const { ok, layers } = await verifyBlob(blob, sha256);
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('no sha512')]);
  });

  it('has a dm-verity superblock whose UUID is zero', async () => {
    const nil = Buffer.from(blob);
    nil.fill(0, inspect.verity!.offset + 8 + 16, inspect.verity!.offset + 8 + 32);
    for (const said of [annotations, withoutTree(annotations)]) {
      const { ok, layers } = await verifyBlob(nil, said);
      expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('UUID')]);
    }
  });
});

function withoutTree(annotations: Record<string, string>): Record<string, string> {
  const { verityOffset, verityRoot } = containerdAnnotations;
  const kept = Object.entries(annotations).filter(([name]) => name !== verityOffset && name !== verityRoot);
  return Object.fromEntries(kept);
}
