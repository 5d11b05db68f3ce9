import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { humanBytes, humanCount } from '../src/quantity';

test.each([
  [0, '0 chunks'],
  [1, '1 chunk'],
  [2, '2 chunks'],
])('%d of a thing read %s', (count, text) => {
  expect(humanCount(count, 'chunk')).toBe(text);
});

test('a plural of its own, and a byte', () => {
  expect([1, 3].map((count) => humanCount(count, 'entry', 'entries'))).toEqual(['1 entry', '3 entries']);
  expect([0, 1, 2].map(humanBytes)).toEqual(['0 bytes', '1 byte', '2 bytes']);
});

test('what the program and pages print counts things with it', () => {
  const things = 'chunks|layers|images|files|entries|jobs|differences|blocks|attestations|reads|manifests';
  const fixed = new RegExp(`\\$\\{[^{}]+\\} (${things})\\b`, 'g');
  const src = join(__dirname, '../src');
  for (const folder of ['cli', 'image/page'])
    for (const name of readdirSync(join(src, folder), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const found = readFileSync(join(src, folder, name), 'utf8').match(fixed) ?? [];
      expect(found.map((text) => `${folder}/${name}: ${text}`)).toEqual([]);
    }
});
