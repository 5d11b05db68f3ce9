import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

interface Synthetic {
  writeSynthetic: (path: string, options: { bytes: number; seed?: number }) => void;
  writeManyFiles: (path: string, options: { entries: number; perFolder?: number }) => void;
}

let { writeSynthetic, writeManyFiles } = {} as Synthetic;
beforeAll(async () => {
  const { href } = pathToFileURL(join(__dirname, '..', '..', 'bench', 'lib', 'synthetic.mjs'));
  ({ writeSynthetic, writeManyFiles } = (await import(href)) as Synthetic);
});
const directory = mkdtempSync(join(tmpdir(), 'bench-synthetic-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const list = (path: string): string[] =>
  execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n');

test('the corpus is a tar of all four kinds, and the same on every machine', () => {
  const path = join(directory, 'corpus.tar');
  writeSynthetic(path, { bytes: 3e6, seed: 7 });
  const kinds = new Set(list(path).flatMap((name) => /\/(text|program|noise|small)-/.exec(name)?.[1] ?? []));
  expect([...kinds].sort()).toEqual(['noise', 'program', 'small', 'text']);
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
  expect(digest).toBe('a9afff7a9f0d9e8599949c2ea963aae66d4b02629715dc242587e80f558c4af4');
});

test('another seed gives another corpus', () => {
  const paths = [1, 2].map((seed) => {
    const path = join(directory, `seed-${seed}.tar`);
    writeSynthetic(path, { bytes: 200_000, seed });
    return path;
  });
  expect(readFileSync(paths[0]!).equals(readFileSync(paths[1]!))).toBe(false);
});

test('many files, spread over folders', () => {
  const path = join(directory, 'many.tar');
  writeManyFiles(path, { entries: 25, perFolder: 10 });
  const names = list(path);
  expect(names.filter((name) => name.endsWith('/'))).toEqual(['d0/', 'd1/', 'd2/']);
  expect(names).toHaveLength(28);
});
