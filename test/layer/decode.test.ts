import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { specAnnotations } from '../../src/format/annotations';
import { digestOf } from '../../src/format/digest';
import { decodeBlob } from '../../src/layer/decode-blob';
import { refusal } from '../support/refusal';
import { goldenBlob, rawSpecBlob, specBlob } from '../support/sealed-blob';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'decode-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('the digest that a descriptor has of the decoded bytes', () => {
  it.each([
    ['zstd frames', 'application/vnd.erofs+zstd', specBlob('mib.c65536.v4096')],
    ['raw chunks', 'application/vnd.erofs', rawSpecBlob(goldenBlob('mib.c65536.v4096').image, 65536)],
  ])('is checked: %s', async (name, mediaType, { blob, image, descriptor }) => {
    const path = join(folder, name);
    writeFileSync(path, blob);
    const saying = (digest: string) => ({
      descriptor: {
        mediaType,
        ...descriptor,
        annotations: { ...descriptor.annotations, [specAnnotations.uncompressedDigest]: digest },
      },
    });
    const wrong = decodeBlob(path, `${path}.image`, saying(digestOf(Buffer.from('another image'))));
    await expect(wrong).rejects.toThrow(refusal('MISMATCH', 'decoded data'));
    expect(existsSync(`${path}.image`)).toBe(false);
    // Of raw chunks, the index behind them is content as well.
    const content = mediaType.endsWith('+zstd') ? image : blob;
    await decodeBlob(path, `${path}.image`, saying(digestOf(content)));
    expect(readFileSync(`${path}.image`).equals(image)).toBe(true);
  });
});
