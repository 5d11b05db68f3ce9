import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import { decodeBlob } from '../../src/layer/decode-blob';
import { encodeLayer, type EncodeOptions } from '../../src/layer/encode';
import type { EncodedLayer } from '../../src/layer/encoded-layer';
import { openBlob } from '../../src/layer/open-blob';
import { verifyImage } from '../../src/image/verify';
import { digestOf } from '../../src/format/digest';
import { refusal } from '../support/refusal';
import { writeSpecBlob, type SpecChoices } from '../support/spec-writer';

const folder = mkdtempSync(join(tmpdir(), 'erofs-image-spec-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const at = (name: string): string => join(folder, name);

/** Begins like an EROFS image; some of it compresses, some doesn't. */
function imageOf(size: number): Buffer {
  const bytes = Buffer.from(
    Uint8Array.from({ length: size }, (_, i) =>
      i % 8192 < 4096 ? Math.imul(i, 2654435761) >>> 24 : i >> 12,
    ),
  );
  bytes.fill(0, 0, 1024);
  bytes.writeUInt32LE(0xe0f5e1e2, 1024);
  return bytes;
}

const chunkSize = 64 << 10;
const spec = { profile: 'erofs-image-spec', chunkSize } as const;

async function encode(image: Buffer, name: string, options: EncodeOptions = {}) {
  writeFileSync(at(`${name}.erofs`), image);
  const layer = await encodeLayer(at(`${name}.erofs`), at(name), { ...spec, ...options });
  return { layer, blob: readFileSync(at(name)) };
}

async function decoded(name: string, descriptor: EncodedLayer, dmVerity?: boolean): Promise<Buffer> {
  await decodeBlob(at(name), at(`${name}.out`), { descriptor, dmVerity });
  return readFileSync(at(`${name}.out`));
}

const verities: SpecChoices['verity'][] = [
  null,
  { algorithm: 'sha256', blockSize: 4096 },
  { algorithm: 'sha512', blockSize: 4096 },
  { algorithm: 'sha256', blockSize: 512 },
];
const optionsOf = (verity: SpecChoices['verity']): EncodeOptions =>
  verity === null
    ? {}
    : { dmVerity: true, dmVerityHash: verity.algorithm, dmVerityBlockSize: verity.blockSize };
const sizes = [4096, chunkSize - 4096, chunkSize, 5 * chunkSize + 12288, 3 * chunkSize + 512];
const cases = sizes.flatMap((size) => verities.map((verity) => ({ size, verity })));

describe('against a second writer', () => {
  test.each(cases)('$size bytes uncompressed, $verity: every byte', async ({ size, verity }) => {
    const image = imageOf(size);
    const options = { ...optionsOf(verity), noCompress: true };
    const { layer, blob } = await encode(image, `raw-${size}`, options);
    const wanted = writeSpecBlob(image, { chunkSize, compression: 'none', index: 'embedded', verity });
    expect(blob.equals(wanted.blob)).toBe(true);
    expect(layer).toEqual({
      mediaType: 'application/vnd.erofs',
      digest: digestOf(wanted.blob),
      size: wanted.blob.length,
      annotations: wanted.annotations,
      diffId: wanted.diffId,
      uncompressedSize: Number(wanted.annotations['org.erofs.dmverity.hash_offset'] ?? size),
      chunkSize,
      chunks: Math.ceil(wanted.data.length / chunkSize),
    });
  });

  test.each(cases)(
    '$size bytes in frames, $verity: data, index and annotations',
    async ({ size, verity }) => {
      const image = imageOf(size);
      const { layer, blob } = await encode(image, `zstd-${size}`, optionsOf(verity));
      const wanted = writeSpecBlob(image, { chunkSize, compression: 'zstd', index: 'embedded', verity });
      expect(layer).toMatchObject({ mediaType: 'application/vnd.erofs+zstd', diffId: wanted.diffId });
      const ours = takeApart(blob, layer);
      expect(ours.data.equals(wanted.data)).toBe(true);
      expect(ours.starts).toEqual(ours.starts.map((_, i) => i * chunkSize));
      expect(ours.starts.length).toBe(Math.ceil(wanted.data.length / chunkSize));
      const other = ['org.erofs.chunk-index.range', 'org.erofs.chunk-index.digest'];
      const same = Object.entries(wanted.annotations).filter(([name]) => !other.includes(name));
      expect(layer.annotations).toMatchObject(Object.fromEntries(same));
      expect(Object.keys(layer.annotations).sort()).toEqual(Object.keys(wanted.annotations).sort());
    },
  );

  test.each(cases)('what it wrote of $size bytes, $verity, is read', async ({ size, verity }) => {
    const image = imageOf(size);
    for (const compression of ['zstd', 'none'] as const) {
      const written = writeSpecBlob(image, { chunkSize, compression, index: 'embedded', verity });
      const name = `theirs-${compression}-${size}`;
      writeFileSync(at(name), written.blob);
      const { blob, annotations, diffId } = written;
      const mediaType = compression === 'zstd' ? 'application/vnd.erofs+zstd' : 'application/vnd.erofs';
      const descriptor = { mediaType, digest: digestOf(blob), size: blob.length, annotations, diffId };
      const out = await decodeBlob(at(name), at(`${name}.out`), { descriptor });
      expect(out.diffId).toBe(diffId);
      const whole = Number(annotations['org.erofs.dmverity.hash_offset'] ?? size);
      expect(readFileSync(at(`${name}.out`)).equals(written.data.subarray(0, whole))).toBe(true);
      const { ok, layers } = await verifyImage(at(name), { descriptor });
      expect([ok, layers[0]!.merkle]).toEqual([true, verity === null ? 'absent' : 'ok']);
    }
  });
});

/** Reads a blob by its index, as the format's text says; every frame is decoded by the zstd program. */
function takeApart(blob: Buffer, { annotations }: EncodedLayer) {
  const [start, end] = annotations['org.erofs.chunk-index.range']!.split(':').map(Number) as [number, number];
  expect(start % 4).toBe(0);
  expect(end).toBe(blob.length);
  expect(blob.readUInt32LE(start)).toBe(0x184d2a50);
  expect(blob.readUInt32LE(start + 4)).toBe(end - start - 8);
  const index = blob.subarray(start + 8, end);
  expect(annotations['org.erofs.chunk-index.digest']).toBe(digestOf(index, 'sha512'));
  expect(index.toString('hex', 0, 8)).toBe('cde4ec6701010000');
  expect(index.toString('hex', 20, 32)).toBe('0140' + '00'.repeat(10));
  const chunks = index.readUInt32LE(16);
  expect(index.length).toBe(32 + chunks * 80);
  const entries = Array.from({ length: chunks }, (_, i) => index.subarray(32 + i * 80, 112 + i * 80));
  const offsets = [...entries.map((entry) => Number(entry.readBigUInt64LE(0))), start];
  const data = execFileSync('zstd', ['-dc'], { input: blob, maxBuffer: 1 << 30 });
  expect(index.readBigUInt64LE(8)).toBe(BigInt(data.length));
  for (const [i, entry] of entries.entries()) {
    let frame = blob.subarray(offsets[i], offsets[i + 1]);
    if (i === chunks - 1) frame = withoutPadding(frame);
    expect(entry.toString('hex', 16)).toBe(digestOf(frame, 'sha512').slice('sha512:'.length));
  }
  return { data, starts: entries.map((entry) => Number(entry.readBigUInt64LE(8))) };
}

function withoutPadding(frame: Buffer): Buffer {
  for (let size = 1; size <= 3; size++) {
    const padding = Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, size, 0, 0, 0]), Buffer.alloc(size)]);
    if (frame.subarray(-padding.length).equals(padding)) return frame.subarray(0, -padding.length);
  }
  return frame;
}

describe('a blob', () => {
  it.each([{}, { noCompress: true }])('decodes to the image it was made of, with %o', async (more) => {
    const image = imageOf(3 * chunkSize + 4096);
    for (const dmVerity of [false, true]) {
      const { layer } = await encode(image, 'round', { ...more, dmVerity });
      expect((await decoded('round', layer)).equals(image)).toBe(true);
      const blob = await openBlob(at('round'), { descriptor: layer });
      expect([blob.size, blob.section.chunkSize]).toEqual([image.length, chunkSize]);
      expect(
        (await blob.read(chunkSize - 7, 5000)).equals(image.subarray(chunkSize - 7, chunkSize + 4993)),
      ).toBe(true);
      await blob.close();
    }
  });

  it('is the same whatever the number of threads', async () => {
    const image = imageOf(9 * chunkSize + 4096);
    for (const more of [{ dmVerity: true }, { dmVerity: true, noCompress: true }, {}]) {
      const digests = [];
      for (const threads of [1, 2, 5])
        digests.push((await encode(image, 'threads', { ...more, threads })).layer.digest);
      expect(new Set(digests).size).toBe(1);
    }
  });

  it.each([4096, chunkSize, 3 * chunkSize + 512])(
    'of %i bytes becomes a device that veritysetup accepts',
    async (size) => {
      for (const verity of verities.filter((some) => some !== null)) {
        for (const noCompress of [true, false]) {
          const { layer } = await encode(imageOf(size), 'device', { ...optionsOf(verity), noCompress });
          const device = await decoded('device', layer, true);
          const { roothash, hashoffset } = JSON.parse(
            readFileSync(at('device.out.dmverity'), 'utf8'),
          ) as Record<string, string>;
          expect(`${hashoffset}`).toBe(layer.annotations['org.erofs.dmverity.hash_offset']);
          expect(device.subarray(0, size).equals(imageOf(size))).toBe(true);
          const check = [
            'verify',
            at('device.out'),
            at('device.out'),
            roothash!,
            `--hash-offset=${hashoffset}`,
          ];
          expect(spawnSync('veritysetup', check).status).toBe(0);
          device[100] = 1;
          writeFileSync(at('device.out'), device);
          expect(spawnSync('veritysetup', check).status).not.toBe(0);
        }
      }
    },
  );

  it('that is damaged anywhere is refused', async () => {
    const { layer, blob } = await encode(imageOf(2 * chunkSize), 'damaged', { dmVerity: true });
    for (let offset = 0; offset < blob.length; offset += 997) {
      const bad = Buffer.from(blob);
      bad[offset]! ^= 1;
      writeFileSync(at('bad'), bad);
      await expect(decodeBlob(at('bad'), at('bad.out'), { descriptor: layer })).rejects.toMatchObject({
        exitCode: 3,
      });
    }
    expect(readdirSync(folder)).not.toContain('bad.out');
  });

  it('must decode to what its descriptor says of the data', async () => {
    const { layer } = await encode(imageOf(chunkSize), 'said');
    const annotations = {
      ...layer.annotations,
      'org.erofs.uncompressed-digest': digestOf(Buffer.from('else')),
    };
    const descriptor = { ...layer, annotations, diffId: undefined };
    await expect(decodeBlob(at('said'), at('said.out'), { descriptor })).rejects.toThrow(
      refusal('MISMATCH', 'decoded data'),
    );
  });
});

describe('choices', () => {
  test.each([{ index: 'embedded' }, { index: 'standalone' }, { noCompress: true }])(
    'of the other profile have none: %o',
    async (choice) => {
      writeFileSync(at('some.erofs'), imageOf(4096));
      await expect(encodeLayer(at('some.erofs'), at('some'), choice)).rejects.toThrow(
        refusal('USAGE', 'profile containerd'),
      );
    },
  );

  test('that are wrong are refused', async () => {
    const some = (options: EncodeOptions) =>
      encodeLayer(at('some.erofs'), at('some'), { ...spec, ...options });
    await expect(some({ index: 'beside' })).rejects.toThrow(refusal('USAGE', 'beside'));
    await expect(some({ index: 'standalone' })).rejects.toThrow(refusal('USAGE', 'a layer of an image'));
    await expect(some({ dmVerityHash: 'sha1' })).rejects.toThrow(refusal('USAGE', 'sha1'));
  });
});
