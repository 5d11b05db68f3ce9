import { describe, expect, it } from 'vitest';

import type { EncodeChoices } from '../../src/format/profiles';
import { validateEncodeOptions } from '../../src/format/profiles';
import { refusal } from '../support/refusal';

describe('encode options', () => {
  it('have defaults', () => {
    const common = { profile: 'containerd', chunkSize: 524_288, chunking: 'fixed', level: 3 };
    const settings = { ...common, compression: 'zstd', index: 'embedded', verity: null };
    expect(validateEncodeOptions({})).toEqual(settings);
    expect(validateEncodeOptions({ dmVerity: true })).toEqual({
      ...settings,
      verity: { algorithm: 'sha512', blockSize: 4096, salt: new Uint8Array() },
    });
    expect(validateEncodeOptions({ profile: 'erofs-image-spec', dmVerity: true }).verity).toEqual({
      algorithm: 'sha256',
      blockSize: 4096,
      salt: new Uint8Array(32),
    });
  });

  it('take all that is written', () => {
    expect(
      validateEncodeOptions({
        chunkSize: '64KiB',
        level: 22,
        dmVerity: true,
        dmVerityBlockSize: '512',
        dmVerityHash: 'sha512',
      }),
    ).toMatchObject({ chunkSize: 65_536, level: 22, verity: { algorithm: 'sha512', blockSize: 512 } });
    expect(validateEncodeOptions({ chunkSize: 4096 }).chunkSize).toBe(4096);
    expect(validateEncodeOptions({ chunkSize: '1GiB' }).chunkSize).toBe(2 ** 30);
    const spec = { profile: 'erofs-image-spec', dmVerity: true, dmVerityHash: 'sha512' };
    expect(validateEncodeOptions(spec).verity?.algorithm).toBe('sha512');
  });

  it.each<EncodeChoices>([
    { profile: 'Containerd' },
    { profile: '' },
    { chunkSize: 0 },
    { chunkSize: -4096 },
    { chunkSize: 4095 },
    { chunkSize: 4097 },
    { chunkSize: NaN },
    { chunkSize: 2 ** 30 + 4096 },
    { chunkSize: '1' },
    { chunkSize: '4 potatoes' },
    { level: 0 },
    { level: 23 },
    { level: 1.5 },
    { level: NaN },
    { dmVerityBlockSize: 256 },
    { dmVerityBlockSize: 3000 },
    { dmVerityBlockSize: 8192 },
    { dmVerityHash: 'sha256' },
    { dmVerityHash: 'md5' },
    { profile: 'erofs-image-spec', dmVerityHash: 'sha1' },
    { profile: 'erofs-image-spec', chunking: 'names' },
    { chunking: 'files' },
  ])('refuse %j', (choices) => {
    expect(() => validateEncodeOptions(choices)).toThrow(refusal('USAGE'));
    expect(() => validateEncodeOptions({ ...choices, dmVerity: true })).toThrow(refusal('USAGE'));
  });
});
