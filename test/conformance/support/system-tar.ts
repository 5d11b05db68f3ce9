import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './machine';

const megabyte = 1_000_000;

/** How much of this machine's own distribution is taken at most, in this order; nothing larger than a fifth of a share. */
const shares: [folder: string, bytes: number][] = [
  ['etc', 5 * megabyte],
  ['usr/share', 20 * megabyte],
  ['usr/bin', 15 * megabyte],
  ['usr/sbin', 5 * megabyte],
  ['usr/lib', 15 * megabyte],
];

/** Writes a tar of parts of the running system, 60 MB at most, and of the whole of folder `extra`. */
export function writeSystemTar(tar: string, extra: string): void {
  const parents = ['usr', ...shares.map(([folder]) => folder)];
  run(
    'tar',
    [
      ...['--create', '--file', tar, '--format=posix', '--numeric-owner', '--sparse'],
      ...['--xattrs', '--xattrs-include=*', '--directory', '/'],
      ...['--no-recursion', ...parents, '--recursion', ...shares.flatMap((share) => selection(...share))],
      ...['--directory', extra, '.'],
    ],
    1, // a file changed while it was read; what is in the tar is in the tar
  );
}

/** Unpacks a tar with everything that GNU tar can restore. */
export function extractTar(tar: string, folder: string): void {
  const keep = ['--xattrs', '--xattrs-include=*', '--same-owner', '--numeric-owner', '-p'];
  // Without the delay a folder whose members are apart in the tar gets the time of its extraction.
  run('tar', ['--extract', '--file', tar, '--directory', folder, '--delay-directory-restore', ...keep]);
}

function selection(folder: string, share: number): string[] {
  const names = readdirSync(join('/', folder)).sort();
  const sizes = execFileSync('du', ['-sxb', '--files0-from=-'], {
    cwd: '/',
    input: names.map((name) => `${folder}/${name}\0`).join(''),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const selected: string[] = [];
  let total = 0;
  for (const line of sizes.split('\n')) {
    const [, size, path] = /^(\d+)\t(.+)$/.exec(line) ?? [];
    if (path === undefined || Number(size) > share / 5 || total + Number(size) > share) continue;
    total += Number(size);
    selected.push(path);
  }
  return selected;
}
