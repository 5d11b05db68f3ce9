import { describe, expect, it } from 'vitest';

import { parseZstdBlockHeader, parseZstdFrameHeader } from '../../src/format/zstd-frame';
import { refusal } from '../support/refusal';

function frame(hex: string): Buffer {
  return Buffer.from(`28b52ffd${hex}`, 'hex');
}

describe('zstd frame header', () => {
  // Descriptor bits: 7-6 size of the content size, 5 single segment, 3 reserved, 2 checksum, 1-0 size of the dictionary id.
  it.each<[string, string, object]>([
    [
      'nothing but a window',
      '0000',
      { headerSize: 6, contentSize: null, windowSize: 1024, hasChecksum: false },
    ],
    ['a checksum', '0400', { headerSize: 6, hasChecksum: true }],
    ['a window with mantissa', '000f', { windowSize: 2048 + 7 * 256 }],
    ['the longest window', '00ff', { windowSize: 2 ** 41 + 7 * 2 ** 38, maxBlockSize: 131_072 }],
    [
      'a single segment of 255 bytes',
      '20ff',
      { headerSize: 6, contentSize: 255, windowSize: 255, maxBlockSize: 255 },
    ],
    ['an empty single segment', '2000', { contentSize: 0, windowSize: 0, maxBlockSize: 0 }],
    ['two bytes of size', '600000', { headerSize: 7, contentSize: 256, singleSegment: true }],
    ['two bytes of size and a window', '4010ffff', { headerSize: 8, contentSize: 65_791, windowSize: 4096 }],
    ['four bytes of size', 'a000004000', { headerSize: 9, contentSize: 4_194_304, maxBlockSize: 131_072 }],
    ['eight bytes of size', 'e0ffffffffffff1f00', { headerSize: 13, contentSize: Number.MAX_SAFE_INTEGER }],
    ['the longest header, dictionary id 0', `c300${'00'.repeat(12)}`, { headerSize: 18, contentSize: 0 }],
  ])('with %s', (_name, hex, expected) => {
    expect(parseZstdFrameHeader(frame(hex))).toMatchObject(expected);
  });

  it.each(['', '00', '60', '6000', 'e0ffffffffffffff', 'c300'])(
    'is refused when it is cut short: %j',
    (hex) => {
      expect(() => parseZstdFrameHeader(frame(hex), 'frame 3')).toThrow(
        refusal('CORRUPT', 'frame 3: it ends after'),
      );
    },
  );

  it('is refused for what it must not have', () => {
    expect(() => parseZstdFrameHeader(Buffer.from('28b52ffe0000', 'hex'))).toThrow(
      refusal('CORRUPT', 'magic 0xfe2fb528'),
    );
    expect(() => parseZstdFrameHeader(frame('0800'))).toThrow(refusal('CORRUPT', 'reserved bit'));
    expect(() => parseZstdFrameHeader(frame('e00000000000002000'))).toThrow(
      refusal('CORRUPT', 'content size is 9007199254740992'),
    );
    expect(() => parseZstdFrameHeader(frame('210700'))).toThrow(refusal('UNSUPPORTED', 'dictionary'));
  });
});

describe('zstd block header', () => {
  const parse = (bits: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUIntLE(bits, 1, 3);
    return parseZstdBlockHeader(bytes, 1, 131_072);
  };

  it('tells type, end and stored size', () => {
    expect(parse((1000 << 3) | 0)).toEqual({ last: false, type: 'raw', storedSize: 1000 });
    expect(parse((1000 << 3) | 3)).toEqual({ last: true, type: 'rle', storedSize: 1 });
    expect(parse((131_072 << 3) | 5)).toEqual({ last: true, type: 'compressed', storedSize: 131_072 });
  });

  it('is refused for a reserved type and for sizes beyond the window', () => {
    expect(() => parse(6)).toThrow(refusal('CORRUPT', 'reserved type'));
    for (const type of [0, 2, 4])
      expect(() => parse((131_073 << 3) | type)).toThrow(refusal('CORRUPT', '131073 bytes'));
  });
});
