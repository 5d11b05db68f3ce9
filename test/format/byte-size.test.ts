import { describe, expect, it } from 'vitest';

import { formatByteSize, parseByteSize } from '../../src/format/byte-size';
import { refusal } from '../support/refusal';

describe('byte size', () => {
  it.each([
    ['4MiB', 4_194_304],
    ['64KiB', 65_536],
    ['4194304', 4_194_304],
    ['1GiB', 1_073_741_824],
    ['1 TiB', 1_099_511_627_776],
    ['0', 0],
    ['17B', 17],
    ['2kB', 2000],
    ['3MB', 3_000_000],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('%s is %d bytes', (text, size) => {
    expect(parseByteSize(text)).toBe(size);
  });

  it.each([
    '',
    'MiB',
    '-1',
    '+1',
    '1.5MiB',
    '4 M',
    '4mib',
    '1e6',
    '0x10',
    '4MiB ',
    '4  MiB',
    '4toString',
    '４',
  ])('%j is no size', (text) => {
    expect(() => parseByteSize(text, '--chunk-size')).toThrow(refusal('USAGE', '--chunk-size: '));
  });

  it.each(['9007199254740992', '8192TiB', '99999999999999999999999'])('%s is too much', (text) => {
    expect(() => parseByteSize(text)).toThrow(refusal('USAGE', 'beyond 2^53'));
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1_048_575, '1 MiB'],
    [4_194_304, '4 MiB'],
    [5 * 2 ** 50, '5120 TiB'],
  ])('%d is shown as %s', (size, text) => {
    expect(formatByteSize(size)).toBe(text);
  });
});
