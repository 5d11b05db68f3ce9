// What the benchmarks work on: a tar of this machine's /usr, real content that everyone has. Its files are taken in the
// order of a hash of their path, so any size is a fair sample and a second machine with the same system gets nearly the same.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCE = '/usr';
const LARGEST_FILE = 64 * 2 ** 20;

/** The directory for corpora, images and blobs. It stays, so that the next run need not make the corpus anew. */
export function benchDirectory() {
  const directory = join(tmpdir(), `seekable-erofs-bench-${process.getuid?.() ?? 0}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700); // fails when the directory is someone else's
  return directory;
}

/** Path of a tar with about `megabytes` (10^6 bytes) of file data, made when it isn't there yet. */
export function corpusTar(directory, megabytes) {
  const tar = join(directory, `usr-${megabytes}MB.tar`);
  if (existsSync(tar)) return tar;
  const list = join(directory, `usr-${megabytes}MB.list`);
  writeFileSync(list, chooseFiles(megabytes * 1e6).join('\0'));
  const half = `${tar}.${process.pid}`;
  try {
    const options = [
      '--numeric-owner',
      '--mtime=@1700000000',
      '--hard-dereference',
      '--no-recursion',
      '--null',
    ];
    execFileSync('tar', [...options, '-T', list, '-cPf', half], { stdio: ['ignore', 'inherit', 'inherit'] });
    renameSync(half, tar);
  } finally {
    rmSync(half, { force: true });
  }
  return tar;
}

function chooseFiles(wantedBytes) {
  const hashed = [...walk(SOURCE)].map((file) => ({
    ...file,
    key: createHash('sha256').update(file.path).digest('hex'),
  }));
  hashed.sort((a, b) => (a.key < b.key ? -1 : 1));
  const chosen = [];
  let bytes = 0;
  for (const { path, size } of hashed) {
    if (bytes >= wantedBytes) break;
    chosen.push(path);
    bytes += size;
  }
  if (bytes < wantedBytes) console.error(`note: ${SOURCE} has only ${Math.round(bytes / 1e6)} MB of files`);
  return chosen;
}

function* walk(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isSymbolicLink()) yield { path, size: 0 };
    else if (entry.isFile()) {
      const { size } = lstatSync(path);
      if (size < LARGEST_FILE) yield { path, size };
    }
  }
}

/** Size of a file in bytes. */
export const fileSize = (path) => statSync(path).size;
