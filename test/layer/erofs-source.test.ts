import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { digestOf } from '../../src/format/digest';
import { mediaTypes } from '../../src/format/media-types';
import { openErofsSource } from '../../src/layer/erofs-source';
import { readGolden } from '../support/golden';
import { RangeServer } from '../support/range-server';
import { RecordingSource } from '../support/recording-source';
import { refusal } from '../support/refusal';
import { goldenBlob } from '../support/sealed-blob';
import { zstdFrame } from '../support/spec-writer';
import { tarBytes } from '../support/tar-bytes';

const { blob, image, descriptor } = goldenBlob('mib.c65536.v4096');
const rawDescriptor = { digest: digestOf(image), size: image.length };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'image-source-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function put(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function readAll(...args: Parameters<typeof openErofsSource>): Promise<Buffer> {
  const source = await openErofsSource(...args);
  try {
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

describe('the image of a layer', () => {
  it('is the same, raw or in a blob, whatever the file is called', async () => {
    expect((await readAll(put('image.tar', image))).equals(image)).toBe(true);
    expect((await readAll(put('blob.erofs', blob))).equals(image)).toBe(true);
    expect((await readAll(put('blob', blob), { descriptor })).equals(image)).toBe(true);
    expect((await readAll(new RecordingSource(blob), { descriptor })).equals(image)).toBe(true);
    expect((await readAll(new RecordingSource(image))).equals(image)).toBe(true);
  });

  it('is checked whole when it is a raw file', async () => {
    const path = put('raw', image);
    expect((await readAll(path, { descriptor: rawDescriptor })).equals(image)).toBe(true);
    const other = { ...rawDescriptor, digest: digestOf(blob) };
    await expect(openErofsSource(path, { descriptor: other })).rejects.toThrow(
      refusal('MISMATCH', 'digest is'),
    );
    const longer = { ...rawDescriptor, size: image.length + 1 };
    await expect(openErofsSource(path, { descriptor: longer })).rejects.toThrow(
      refusal('MISMATCH', 'its descriptor says'),
    );
  });

  it('is fetched whole and checked when it is raw and elsewhere, unless reading parts unverified is allowed', async () => {
    const server = await RangeServer.start(image);
    expect((await readAll(server.url, { descriptor: rawDescriptor })).equals(image)).toBe(true);
    const other = { ...rawDescriptor, digest: digestOf(blob) };
    await expect(openErofsSource(server.url, { descriptor: other })).rejects.toThrow(
      refusal('MISMATCH', 'digest is'),
    );
    const options = { descriptor: other, allowUnverified: true };
    expect((await readAll(server.url, options)).equals(image)).toBe(true);
    server.bytes = blob;
    expect((await readAll(server.url, { descriptor })).equals(image)).toBe(true);
    await expect(openErofsSource(server.url)).rejects.toThrow(refusal('USAGE', 'with a descriptor only'));
    await server.stop();
  });

  it('is in zstd without a table: named, refused, and read whole when that is allowed', async () => {
    const frames = blob.subarray(0, goldenBlob('mib.c65536.v4096').inspect.table_offset);
    const ofFrames = { mediaType: mediaTypes.containerdErofsZstd, size: frames.length };
    for (const mediaType of [mediaTypes.containerdErofsZstd, mediaTypes.specErofsZstd]) {
      const options = { descriptor: { ...ofFrames, mediaType, digest: digestOf(frames) } };
      const source = new RecordingSource(frames);
      await expect(openErofsSource(source, options)).rejects.toThrow(
        refusal('UNVERIFIED', 'EROFS in zstd without a chunk table'),
      );
      expect(source.closed).toBe(1);
      const allowed = { ...options, allowUnverified: true };
      expect((await readAll(new RecordingSource(frames), allowed)).equals(image)).toBe(true);
      expect((await readAll(put('frames', frames), allowed)).equals(image)).toBe(true);
      const wrong = { ...allowed, descriptor: { ...options.descriptor, digest: digestOf(image) } };
      await expect(openErofsSource(put('frames', frames), wrong)).rejects.toThrow(refusal('MISMATCH'));
    }
    await expect(openErofsSource(put('frames', frames))).rejects.toThrow(refusal('UNVERIFIED'));
  });

  it('is none of a tar: the hint says what to do', async () => {
    const tar = Buffer.alloc(1024);
    const zstdTar = zstdFrame(tarBytes([{ name: 'file', content: 'x'.repeat(2000) }]));
    for (const bytes of [tar, gzipSync(tar), zstdTar, Buffer.alloc(0)]) {
      const source = new RecordingSource(bytes);
      await expect(openErofsSource(source)).rejects.toMatchObject({
        code: 'USAGE',
        message: 'memory: it is a tar layer',
        hint: expect.stringMatching(/encode.*convert/) as string,
      });
      expect(source.closed).toBe(1);
    }
    const source = new RecordingSource(zstdTar);
    const ofTar = { digest: digestOf(zstdTar), size: zstdTar.length, mediaType: mediaTypes.ociTarZstd };
    await expect(openErofsSource(source, { descriptor: ofTar })).rejects.toThrow(
      refusal('USAGE', 'tar layer'),
    );
    expect(source.ranges).toEqual([]);
  });

  it('is none of other bytes, and wants a vouched table of a blob', async () => {
    const odd = new RecordingSource(readGolden('images/odd5000.bin'));
    await expect(openErofsSource(odd)).rejects.toThrow(refusal('CORRUPT', 'neither an EROFS image nor'));
    const bare = new RecordingSource(blob);
    const { digest, size } = descriptor;
    await expect(openErofsSource(bare, { descriptor: { digest, size } })).rejects.toThrow(
      refusal('UNVERIFIED'),
    );
    expect(bare.closed).toBe(1);
    expect(bare.ranges.length).toBeLessThan(3);
    const allowed = { descriptor: { digest, size }, allowUnverified: true };
    expect((await readAll(new RecordingSource(blob), allowed)).equals(image)).toBe(true);
  });
});
