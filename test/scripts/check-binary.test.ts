import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

const root = join(__dirname, '../..');
type Require = (condition: boolean, claim: string, detail?: string) => void;

/** What scripts/check-binary.mjs finds wrong with a file, as a binary for one kind of machine. */
async function faults(binary: string, target: { arch: string; libc: string }): Promise<string[]> {
  const script = pathToFileURL(join(root, 'scripts/check-binary.mjs')).href;
  const { checkBinary } = (await import(script)) as {
    checkBinary: (binary: string, target: object, require: Require) => void;
  };
  const found: string[] = [];
  checkBinary(binary, { ...target, name: 'it' }, (holds, claim) => {
    if (!holds) found.push(claim);
  });
  return found;
}

test('a program is no binary to release, nor one of another machine', async () => {
  const other = process.arch === 'x64' ? 'arm64' : 'x64';
  const asGlibc = await faults(process.execPath, { arch: other, libc: 'glibc' });
  expect(asGlibc).toContainEqual(expect.stringMatching(/^it is for /));
  expect(asGlibc).toContain('it exports its entry points alone');
  const asMusl = await faults(process.execPath, { arch: process.arch, libc: 'musl' });
  expect(asMusl).not.toContainEqual(expect.stringMatching(/^it is for /));
  expect(asMusl).toContain('it needs the C library alone');
  expect(asMusl).toContain('it needs no glibc');
});

test('nothing runs when the package is installed', () => {
  const text = readFileSync(join(root, 'package.json'), 'utf8');
  const { scripts, gypfile, files } = JSON.parse(text) as {
    scripts: Record<string, string>;
    gypfile: unknown;
    files: string[];
  };
  expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$/.test(name))).toEqual([]);
  expect(gypfile).toBe(false);
  expect(files).not.toContain('binding.gyp');
});

test('the program that compiles is what the error at require names', () => {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    bin: Record<string, string>;
  };
  const program = join(root, bin['seekable-erofs-build']!);
  const { status, stdout } = spawnSync(process.execPath, [program, '--help'], { encoding: 'utf8' });
  expect([status, stdout]).toEqual([0, expect.stringContaining('Usage: seekable-erofs-build')]);
  expect(readFileSync(join(root, 'src/native/binding.ts'), 'utf8')).toContain('npx seekable-erofs-build');
});
