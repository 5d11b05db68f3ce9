import { describe, expect, it } from 'vitest';

import { parseSkippableHeader, serializeSkippableHeader } from '../../src/format/skippable-frame';
import { refusal } from '../support/refusal';

describe('skippable frame', () => {
  it('writes magic and size in little endian', () => {
    expect(serializeSkippableHeader(0x01020304).toString('hex')).toBe('502a4d1804030201');
  });

  it.each([0, 1, 0xffff_ffff])('tells a payload of %d bytes', (payloadSize) => {
    expect(parseSkippableHeader(serializeSkippableHeader(payloadSize))).toEqual({ payloadSize });
  });

  it('reads the sixteen magics and no other', () => {
    const header = serializeSkippableHeader(7);
    for (let low = 0; low < 256; low++) {
      header[0] = low;
      if (low >= 0x50 && low <= 0x5f) expect(parseSkippableHeader(header).payloadSize).toBe(7);
      else expect(() => parseSkippableHeader(header)).toThrow(refusal('CORRUPT', 'magic'));
    }
  });

  it('refuses a header that is cut short and a payload that is too long', () => {
    expect(() => parseSkippableHeader(serializeSkippableHeader(7).subarray(0, 7))).toThrow(
      refusal('CORRUPT', '7 bytes'),
    );
    expect(() => serializeSkippableHeader(2 ** 32, 'dm-verity payload')).toThrow(
      refusal('UNSUPPORTED', 'dm-verity payload: 4294967296 bytes'),
    );
  });
});
