import { expect, test } from 'vitest';
import { humanBytes, humanSpeed, indent, printable, shortDigest, table } from '../../src/cli/text';

test.each([
  [0, '0 bytes'],
  [999, '999 bytes'],
  [1000, '1.0 kB'],
  [999_949, '999.9 kB'],
  [999_950, '1.0 MB'],
  [12_345_678, '12.3 MB'],
  [2 ** 53, '9.0 PB'],
])('%d bytes read %s', (count, text) => {
  expect(humanBytes(count)).toBe(text);
});

test('a speed needs time to have passed', () => {
  expect(humanSpeed(5e6, 2)).toBe('2.5 MB/s');
  expect(humanSpeed(5e6, 0)).toBe('- MB/s');
});

test('digests are cut, other names are not', () => {
  expect(shortDigest(`sha256:${'ab'.repeat(32)}`)).toBe('sha256:abababababab');
  expect(shortDigest('layer.tar')).toBe('layer.tar');
});

test('columns line up, numbers to the right, without trailing spaces', () => {
  const rows = [
    ['a', '1', 'x'],
    ['bbb', '100', ''],
  ];
  expect(table(rows, [1])).toEqual(['a      1  x', 'bbb  100']);
  expect(indent(['a'], 4)).toEqual(['    a']);
});

test('text of unknown origin can neither move the cursor nor add a line', () => {
  expect(printable('a\x1b[2J\nb\u009b\u202ec\u2028é\t')).toBe(
    'a\\x1b[2J\\x0ab\\x9b\\u{202e}c\\u{2028}é\\x09',
  );
});
