// What the benchmarks work on. Two kinds, both cached in one folder, so that the next run need not make them anew:
//
// usr        a tar of this machine's /usr: programs, libraries, text, much that is compressed already, many small files. Real content that
//            everyone has; its files are taken in the order of a hash of their path, so any size is a fair sample and a second machine
//            with the same system gets nearly the same.
// synthetic  lib/synthetic.mjs: the same bytes on every machine, of any size.
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeSynthetic } from './synthetic.mjs';

const SOURCE = '/usr';
const LARGEST_FILE = 64 * 2 ** 20;
/** How an image's bytes spread over its layers: a large base, then less and less, as Dockerfiles make them. */
export const LAYER_SHARES = [0.36, 0.24, 0.16, 0.12, 0.08, 0.04];

/** The folder for corpora, images and blobs. */
export function benchDirectory() {
  const directory = join(tmpdir(), `seekable-erofs-bench-${process.getuid?.() ?? 0}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700); // fails when the folder is someone else's
  return directory;
}

/** Path of a tar with about `megabytes` (10^6 bytes) of file data, made when it isn't there yet. */
export function corpusTar(directory, kind, megabytes) {
  return corpusTars(directory, kind, megabytes, [1])[0];
}

/** As corpusTar(), cut into several tars of these shares. */
export function corpusTars(directory, kind, megabytes, shares) {
  const name = (i) =>
    join(directory, `${kind}-${megabytes}MB${shares.length > 1 ? `-${i + 1}of${shares.length}` : ''}.tar`);
  const tars = shares.map((_, i) => name(i));
  if (tars.every((path) => existsSync(path))) return tars;
  const sizes = shares.map((share) => share * megabytes * 1e6);
  if (kind === 'synthetic') {
    tars.forEach((path, i) => whole(path, (half) => writeSynthetic(half, { bytes: sizes[i], seed: i + 1 })));
  } else {
    const lists = chooseFiles(sizes);
    tars.forEach((path, i) => whole(path, (half) => writeTar(half, lists[i])));
  }
  return tars;
}

/** The gzip (or zstd) form of tars, beside them. Two programs at once, for gzip takes its time. */
export async function compressed(tars, program) {
  const ending = program === 'gzip' ? 'gz' : 'zst';
  const run = promisify(execFile);
  const queue = tars.filter((tar) => !existsSync(`${tar}.${ending}`));
  const worker = async () => {
    for (let tar = queue.shift(); tar !== undefined; tar = queue.shift()) {
      const half = `${tar}.${process.pid}.${ending}`;
      await run('sh', ['-c', `${program} -c -q "$1" >"$2"`, 'sh', tar, half]);
      renameSync(half, `${tar}.${ending}`);
    }
  };
  await Promise.all([worker(), worker()]);
  return tars.map((tar) => `${tar}.${ending}`);
}

/** Makes a file that appears whole or not at all. */
export function whole(path, write) {
  if (existsSync(path)) return path;
  const half = `${path}.${process.pid}`;
  try {
    write(half);
    renameSync(half, path);
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  return path;
}

function writeTar(path, files) {
  const list = `${path}.list`;
  writeFileSync(list, files.join('\0'));
  const options = [
    '--numeric-owner',
    '--mtime=@1700000000',
    '--hard-dereference',
    '--no-recursion',
    '--null',
  ];
  try {
    execFileSync('tar', [...options, '-T', list, '-cPf', path], { stdio: ['ignore', 'inherit', 'inherit'] });
  } finally {
    rmSync(list, { force: true });
  }
}

/** One list of files for each of `sizes`. */
function chooseFiles(sizes) {
  const hashed = [...walk(SOURCE)].map((file) => ({
    ...file,
    key: createHash('sha256').update(file.path).digest('hex'),
  }));
  hashed.sort((a, b) => (a.key < b.key ? -1 : 1));
  const files = hashed.values();
  return sizes.map((wanted) => {
    const chosen = [];
    let bytes = 0;
    for (let next = files.next(); !next.done; next = files.next()) {
      chosen.push(next.value.path);
      bytes += next.value.size;
      if (bytes >= wanted) return chosen;
    }
    console.error(
      `note: ${SOURCE} has only ${Math.round(bytes / 1e6)} MB more of files (try --corpus synthetic)`,
    );
    return chosen;
  });
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
