import { expect, test } from 'vitest';
import { maxImagesAtOnce } from '../../src/convert/batch/batch';
import { openFilesLimit } from '../../src/fs/open-files';

test.each([
  [
    'Max processes 7 7 processes\nMax open files            1024                 4096                 files',
    1024,
  ],
  ['Max open files            unlimited            unlimited            files', Infinity],
  ['', 1024],
])('the limit of open files is read from %j', (text, limit) => {
  expect(openFilesLimit(() => text)).toBe(limit);
});

test('the images of a batch that are under way fit the limit', () => {
  expect([40, 100, 256, 1024].map(maxImagesAtOnce)).toEqual([1, 1, 5, 29]);
  expect(openFilesLimit()).toBeGreaterThan(0);
});
