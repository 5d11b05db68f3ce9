// The images of the claim `lazy`, as layer tars, kept in the benchmarks' folder: Debian with Python as one layer, and a larger one with Node
// as three. Where debootstrap is missing or fails, files of this machine take its place.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { corpusTar, whole } from './corpus.mjs';

const SUITE = 'bookworm';
const MIRROR = 'http://deb.debian.org/debian';
const SYSTEM = ['etc/passwd', 'etc/group', 'bin', 'sbin', 'lib', 'lib64', 'usr/bin', 'usr/sbin'];
const LIBRARIES = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib64'];
/** File data below Node's own layer, in 10^6 bytes: with the others a GB. */
const BULK = 680;

/** What a container of each image runs; it prints `ok`. */
export const PROGRAMS = {
  python: ['/usr/bin/python3', '-c', 'import json,ssl,sqlite3; print("ok")'],
  node: ['/usr/bin/node', '-e', 'console.log("ok")'],
};

/** `{python, node}`: paths of layer tars, the lowest first. `origin` says what Python's is made of. */
export function lazyImages(directory) {
  const { origin, system } = systemTar(directory);
  const node = whole(join(directory, `lazy-node-${process.version}.tar`), (path) => {
    nodeFiles(directory, path);
  });
  return { origin, python: [system], node: [corpusTar(directory, 'usr', BULK), system, node] };
}

function systemTar(directory) {
  try {
    const system = whole(join(directory, `lazy-debian-${SUITE}.tar`), (path) => bootstrap(directory, path));
    return { origin: `Debian ${SUITE} with python3, by debootstrap`, system };
  } catch (error) {
    console.error(`  no image by debootstrap: ${error.message.split('\n')[0]}`);
    return { origin: "this machine's files", system: whole(join(directory, 'lazy-own.tar'), ownFiles) };
  }
}

function bootstrap(directory, path) {
  const root = join(directory, `lazy-root-${process.pid}`);
  try {
    const options = ['--variant=minbase', '--include=python3'];
    execFileSync('debootstrap', [...options, SUITE, root, MIRROR], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    pack(path, root, ['.'], ['--exclude=./dev/*']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/**
 * The image with Python with all its packages upgraded, in a chroot that sees this machine's /dev: `{tar}`; or `{missing}`, why there is
 * none.
 */
export function upgradedTar(directory) {
  const before = join(directory, `lazy-debian-${SUITE}.tar`);
  if (!existsSync(before)) return { missing: 'the image with Python was not made by debootstrap' };
  try {
    return {
      tar: whole(join(directory, `lazy-debian-${SUITE}-upgraded.tar`), (path) => {
        upgrade(directory, before, path);
      }),
    };
  } catch (error) {
    return { missing: `its packages could not be upgraded: ${error.message.split('\n')[0]}` };
  }
}

const UPGRADE = `set -e
mount --rbind /dev "$1/dev"
sources="$1/etc/apt/sources.list"
for suite in "" -updates; do echo "deb ${MIRROR} ${SUITE}$suite main"; done >"$sources"
echo "deb http://security.debian.org/debian-security ${SUITE}-security main" >>"$sources"
cat /etc/resolv.conf >"$1/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
chroot "$1" sh -ec 'apt-get -qq update; apt-get -qq -y upgrade; apt-get -qq clean; rm -r /var/lib/apt/lists/*'`;

function upgrade(directory, before, path) {
  const root = join(directory, `lazy-upgrade-${process.pid}`);
  mkdirSync(root);
  try {
    const options = { stdio: ['ignore', 'ignore', 'inherit'] };
    execFileSync('tar', ['-C', root, '-xpf', before], options);
    execFileSync('unshare', ['--mount', 'sh', '-c', UPGRADE, 'sh', root], options);
    pack(path, root, ['.'], ['--exclude=./dev/*']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function ownFiles(path) {
  const python = execFileSync('/usr/bin/python3', ['-c', 'import os; print(os.path.dirname(os.__file__))'], {
    encoding: 'utf8',
  }).trim();
  const names = [...SYSTEM, ...LIBRARIES, python.slice(1)].filter((name) => existsSync(join('/', name)));
  pack(path, '/', names, ['--warning=no-file-changed']);
}

/** This Node, npm, and the libraries that Debian's minimal system lacks. */
function nodeFiles(directory, path) {
  const root = join(directory, `lazy-node-${process.pid}`);
  const put = (from, to) => {
    if (!existsSync(from)) return;
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(from, join(root, to), { recursive: true, verbatimSymlinks: true });
  };
  try {
    put(process.execPath, 'usr/bin/node');
    put(resolve(dirname(process.execPath), '../lib/node_modules/npm'), 'usr/lib/node_modules/npm');
    for (const library of ['libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1']) {
      const found = LIBRARIES.map((folder) => join('/', folder, library)).find(existsSync);
      if (found)
        put(execFileSync('realpath', [found], { encoding: 'utf8' }).trim(), join(dirname(found), library));
    }
    pack(path, root, ['.']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function pack(path, root, names, options = []) {
  const same = ['--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@1700000000'];
  execFileSync('tar', ['-C', root, ...same, ...options, '-cf', path, ...names], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

/** Bytes of these tars together. */
export const bytesOf = (tars) => tars.reduce((sum, path) => sum + statSync(path).size, 0);
