import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { constants, deflateRawSync } from 'node:zlib';

import { inflatePrefix } from '../../../src/erofs/compressed/inflate';
import { decodeLz4 } from '../../../src/erofs/compressed/lz4';
import { decodeMicroLzma } from '../../../src/erofs/compressed/lzma';
import { native } from '../../../src/native/binding';

/** One sequence of an LZ4 block; the last one of a block has no match. */
interface Sequence {
  literals: Uint8Array;
  distance: number;
  length: number;
}

function lengthBytes(length: number): number[] {
  if (length < 15) return [];
  const rest = length - 15;
  return [...Array.from({ length: Math.floor(rest / 255) }, () => 255), rest % 255];
}

/** An LZ4 block and what it decodes to, by the plainest means. */
function lz4Block(sequences: Sequence[], last: Uint8Array): { block: Buffer; content: Buffer } {
  const block: number[] = [];
  const content: number[] = [];
  for (const { literals, distance, length } of sequences) {
    const back = 1 + (distance % Math.max(1, content.length + literals.length));
    block.push((Math.min(literals.length, 15) << 4) | Math.min(length - 4, 15));
    block.push(
      ...lengthBytes(literals.length),
      ...literals,
      back & 255,
      back >> 8,
      ...lengthBytes(length - 4),
    );
    content.push(...literals);
    for (let index = 0; index < length; ++index) content.push(content[content.length - back]!);
  }
  block.push(Math.min(last.length, 15) << 4, ...lengthBytes(last.length), ...last);
  content.push(...last);
  return { block: Buffer.from(block), content: Buffer.from(content) };
}

const bytes = (minLength: number) => fc.uint8Array({ minLength, maxLength: 600 });
const anySequences = fc.array(
  fc.record({
    literals: bytes(1),
    distance: fc.oneof(fc.nat(3), fc.nat(60000)),
    length: fc.integer({ min: 4, max: 900 }),
  }),
  { maxLength: 12 },
);

describe('LZ4', () => {
  it('decodes any block, whole and in part', () => {
    fc.assert(
      fc.property(anySequences, bytes(1), fc.nat(), (sequences, last, seed) => {
        const { block, content } = lz4Block(sequences, last);
        const out = Buffer.alloc(content.length);
        expect(decodeLz4(block, out, true)).toBeUndefined();
        expect(out.equals(content)).toBe(true);
        const prefix = Buffer.alloc(1 + (seed % content.length));
        expect(decodeLz4(block, prefix, false)).toBeUndefined();
        expect(prefix.equals(content.subarray(0, prefix.length))).toBe(true);
      }),
    );
  });

  it('a block of another length is refused', () => {
    const { block, content } = lz4Block(
      [{ literals: Buffer.from('abcdef'), distance: 2, length: 40 }],
      Buffer.from('xy'),
    );
    for (const size of [0, 1, 5, 45, 47, content.length - 1, content.length + 1]) {
      expect(decodeLz4(block, Buffer.alloc(size), true), String(size)).toBeTypeOf('string');
    }
    expect(decodeLz4(block, Buffer.alloc(content.length + 1), false)).toBeTypeOf('string');
  });

  it.each([
    ['nothing', ''],
    ['literals that are cut short', '30 41 42'],
    ['a length that is cut short', 'f0 ff'],
    ['a match without its second byte', '10 41 01'],
    ['a match 0 bytes back', '10 41 00 00 10 42'],
    ['a match from before the data', '10 41 02 00 10 42'],
    ['a match at the end', '10 41 01 00'],
  ])('%s is refused', (_, hex) => {
    const block = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    expect(decodeLz4(block, Buffer.alloc(6), true)).toBeTypeOf('string');
  });
});

/** `1 times 1 is 1` to `39 times 12 is 468`, zeros, and a part of it again. */
function lzmaContent(): Buffer {
  let text = '';
  for (let a = 1; a < 40; ++a) {
    for (let b = 1; b < 13; ++b) text += `${a} times ${b} is ${a * b}\n`;
  }
  return Buffer.concat([Buffer.from(text), Buffer.alloc(500), Buffer.from(text.slice(1000, 1900))]);
}

/** What liblzma made of it, as mkfs.erofs calls it (-zlzma,lc=1,lp=2,pb=3). */
const lzmaStream = Buffer.from(
  `
    ZRiICoaTicqbXV0LVZtijOjSDnI6jgJAgqZjVgDpJ3YEDiZyWix0NE6ayTtCeViEIvIU4eGbY9UK17fZQq7HRboOknxk2Gs5
    4QBgcsfPpON/UMRJClSqrTkSdyhYogFWHCzcI61PCc62Wy/ip3N/15iSWFB62PXLCDOZiLnEVkJ3cipzZUh8hzZWtMH9gpIB
    5IK1+Ijn5UJwQT685Hrils7jc+awKUl+8Vxbqbnt7BGwar/i4GMOCxhFDv/tL6FB1O8C9OEDNswF/pi8yONN5F8WhwkA9S50
    0CMirleHhyY1jvGp+dH+/F7av1uT91SXfNlPuaXyJ4ZJlDtBq7u3ZDHcviGbLMJWim3Y/lMXsep77m8LM/Oea1Ii5Xx9RSyE
    iztIa1gd/AfB1dkTw22V0aJTwLCoMgeQ4SpI2mrKEX7+Hi9Qs/Fl7S+ZbH/Ut98qkmqanxUd9HHdkSMsafck5foTzZhHSpop
    fNxXcWjcClyZj3nTv2+Ojc8SA025VYMsldMWoXLgJX4EvuQplSF0wJYkK5U7upYzwKH6GRa3eaXNJpPf16WrwoLZi6JVwLCY
    +b6XsY/q7RsazVhdKKAz0JjIwRyOrDDSrAhyHLLyoYId6P60WTCkJrg7h7PP0D5GfKTU4jG7wnJbzk5yEtYoECn4u2FA48yk
    Qq6T/xsCNqqCE/q3ohoFLF0JyG/xf1A6wLr6wZ30FLty4mODssw/dUY5rTEAfI/gXRLxUoQvPSR83aC6dCuFSY22ZQ98Z89l
    AjYFWZx0S7SwWYBhzA/Of7p9tDm7dHzL6TDt/+FRz7sJqWTnoChcKyq4fpgPdpydGwFjZtPqWp7+0HS8Uu1mAtXPT6yDxJYN
    S+o42icVSrS+NCJyb0STFYs0+SAy+2N9riZYSd9TLiKa8LllCWseen3RPe5xgf/SjzEiQVdAMFOqjAylh4W+erN+wTyZ9Agr
    HwRqwYd5LNkwpmI8+YFQlFeeMvshLeAqMDtfHS4FP3zLwlyk4MlZmVQshnvNOa3ph9Y2NjLHbwifxULy2bKQ/26Ps+VUhka7
    9H9yJIGM/ZK5C1y4o9k289v3gzhFXZH+Hzq+oWgcTdiDUTBQJ1um2UvIbbdjbxpusgplVLNnmnPi22b9WcqYKqqkYEsa/0kE
    8ve1ZLNfPpd1uvx2UvP2J0Z2voBIyoffEgR5CqwnqYm+qv7pcaLS8a3TdYJfAlYAGI8rkgPxX6G8l7jHlpVZV0PfOK714WIx
    GEniYP5cQYDyURfYD4YNdh/5iy3AkM82RHoofSJZJFwIro8CzduA5Wu+N2MZV+KAbhNkgk8rLTecI0Ya7XfMX+SAw0vdv6t3
    KQT8MvELB8BtiKdmjRjKfck4f3LSBBALyjorKajyxX7rh6NAf7hGAbaUPhFLJ9yLBE4ymgqDmDKQZYR9HKy1pBLsrkH/Cctt
    VQBTMLRzlNVDT4IKQj0og69NjrRLjvq5WGcF5hVyPC+m9lwp7o/T0pnyE+D78mhj6faw2fna65+l3jEjfqtgNzx22xDmCDGM
    N7tklqxnr2iUNofqh3TEdTXF/Gtg0SoIYyRX9V71PlFqnk8KneSDkQKEbo8/jXuYp7kvHcC7JL740S4Z5yhCCcHLbote42Tn
    NSJn8VNEiIimvmo+E0CT98+tY1gHf5cyMWymK+E4dFluFuSNwi9DN7Tn2ckr9vcDIm/Y3oLcCAqLaL/PvsqaodkvmNVUENmm
    rijVmbV86WuCzWI2BRZssMWRwerFy1o9BjAqAA==
  `,
  'base64',
);

describe('MicroLZMA', () => {
  const stream = lzmaStream;
  const content = lzmaContent();

  it('decodes a stream, whole and in part', () => {
    const out = Buffer.alloc(content.length);
    expect(decodeMicroLzma(stream, out, true)).toBeUndefined();
    expect(out.equals(content)).toBe(true);
    for (let size = 0; size <= content.length; size += 37) {
      const prefix = Buffer.alloc(size);
      expect(decodeMicroLzma(stream, prefix, false)).toBeUndefined();
      expect(prefix.equals(content.subarray(0, size))).toBe(true);
    }
  });

  it('a stream of another length is refused', () => {
    for (const size of [0, 1, content.length - 1, content.length + 1]) {
      expect(decodeMicroLzma(stream, Buffer.alloc(size), true), String(size)).toBeTypeOf('string');
    }
    expect(decodeMicroLzma(stream, Buffer.alloc(content.length + 100), false)).toBeTypeOf('string');
    const longer = Buffer.concat([stream, Buffer.alloc(1)]);
    expect(decodeMicroLzma(longer, Buffer.alloc(content.length), true)).toBeTypeOf('string');
  });

  it('a stream that is cut short is refused', () => {
    for (let length = 0; length < stream.length; length += 13) {
      const out = Buffer.alloc(content.length);
      expect(decodeMicroLzma(stream.subarray(0, length), out, false), String(length)).toBeTypeOf('string');
    }
  });

  it('impossible properties are refused', () => {
    const out = Buffer.alloc(10);
    for (const properties of [225, 255, 8 + 9]) {
      const changed = Buffer.from(stream);
      changed[0] = ~properties & 0xff;
      expect(decodeMicroLzma(changed, out, false)).toBe('it is no MicroLZMA stream');
    }
  });

  it('noise ends, and stays within the output', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 5, maxLength: 300 }), fc.nat(5000), (noise, size) => {
        noise[0] = ~0x5d & 0xff;
        decodeMicroLzma(noise, Buffer.alloc(size), false);
        decodeMicroLzma(noise, Buffer.alloc(size), true);
      }),
    );
  });
});

describe('DEFLATE', () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * index) >> 9));
  const stream = deflateRawSync(content);

  it('decodes a stream, whole and in part', async () => {
    expect((await inflatePrefix(stream, content.length, true)).equals(content)).toBe(true);
    for (const size of [1, 63, 64, 65, 4096, 262143, 262145, content.length]) {
      expect((await inflatePrefix(stream, size, false)).equals(content.subarray(0, size)), String(size)).toBe(
        true,
      );
    }
  });

  it('a stream of another length, cut short, or damaged is refused', async () => {
    await expect(inflatePrefix(stream, content.length - 1, true)).rejects.toThrow('more than');
    await expect(inflatePrefix(stream, content.length + 1, true)).rejects.toThrow('fewer than');
    await expect(inflatePrefix(stream, content.length + 1, false)).rejects.toThrow('fewer than');
    await expect(inflatePrefix(stream.subarray(0, 5000), content.length, true)).rejects.toThrow();
    await expect(inflatePrefix(Buffer.from('ffffff', 'hex'), 10, false)).rejects.toThrow();
  });

  it('a prefix is decoded without what follows it', async () => {
    const begun = deflateRawSync(content, { finishFlush: constants.Z_FULL_FLUSH });
    const damaged = Buffer.concat([begun, Buffer.alloc(100, 0xff)]);
    await expect(inflatePrefix(damaged, content.length, true)).rejects.toThrow('invalid block type');
    expect(await inflatePrefix(damaged, 100, false)).toEqual(content.subarray(0, 100));
  });
});

describe('ZSTD', () => {
  // `printf 'erofs erofs erofs erofs\n' | zstd`
  const frame = Buffer.from('KLUv/QRYbQAAOGVyb2ZzIAoBAJlLEfDY8fs=', 'base64');
  const content = Buffer.from('erofs erofs erofs erofs\n');

  it('decodes a frame, whole and in part', async () => {
    const name = 'frame';
    const decode = (length: number, whole: boolean) => native.decompressZstd(frame, { length, whole, name });
    expect(await decode(24, true)).toEqual(content);
    expect(await decode(9, false)).toEqual(content.subarray(0, 9));
    await expect(decode(9, true)).rejects.toMatchObject({ code: 'CORRUPT', what: name });
    await expect(decode(25, false)).rejects.toMatchObject({ code: 'CORRUPT', what: name });
  });
});
