import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = resolve(__dirname, '../..');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'replace-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const at = (path: string): string => join(folder, path);

function put(path: string, text: string): void {
  mkdirSync(join(at(path), '..'), { recursive: true });
  writeFileSync(at(path), text);
}

test('a folder in use becomes the one that was made, each file at once', () => {
  for (const [path, text] of [
    ['dist/same', 'same'],
    ['dist/deep/old', 'old'],
    ['dist/gone', 'gone'],
    ['made/same', 'same'],
    ['made/deep/old', 'new'],
    ['made/more/file', 'more'],
  ] as const)
    put(path, text);
  const { ino } = statSync(at('dist/same'));
  const inUse = openSync(at('dist/deep/old'), 'r');
  execFileSync(process.execPath, [join(root, 'scripts/replace.mjs'), at('made'), at('dist')]);
  const files = readdirSync(at('dist'), { recursive: true }).sort();
  expect(files).toEqual(['deep', 'deep/old', 'more', 'more/file', 'same']);
  expect(statSync(at('dist/same')).ino).toBe(ino);
  expect([readFileSync(inUse, 'utf8'), readFileSync(at('dist/deep/old'), 'utf8')]).toEqual(['old', 'new']);
  expect(existsSync(at('made'))).toBe(false);
  closeSync(inUse);
});

test('nothing is built in the place that programs run from', () => {
  expect(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')).toMatch(/"outDir": "build-dist"/);
  expect(readFileSync(join(root, 'package.json'), 'utf8')).toMatch(
    /"build:ts": ".* && node scripts\/replace\.mjs build-dist dist"/,
  );
  const setUp = readFileSync(join(root, 'scripts/setup.sh'), 'utf8');
  expect(setUp).toContain('mv build/Release/new.node build/Release/seekable_erofs.node');
});
