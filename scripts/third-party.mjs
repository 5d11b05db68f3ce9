// What the package has of others: zstd, what the compiler links in, data, and the npm packages that are installed beside it.
//   node scripts/third-party.mjs            writes THIRD_PARTY_LICENSES
//   node scripts/third-party.mjs --check    fails where that would change it
// sbom.mjs lists the same.
import { existsSync, readFileSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { zstdFolder } from './zstd-sources.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (...path) => readFileSync(join(root, ...path), 'utf8');

/** Licences that ask for no more than their notice. One that is not here is to be read before it is added. */
const known = new Set(['MIT', 'ISC', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0']);

/** What a release of zig has inside. A new one is to be looked up: lib/libcxx/include/__config, lib/libc/musl/VERSION. */
const insideZig = { '0.15.2': { llvm: '20.1.0', musl: '1.2.5' } };

function zigVersion() {
  return /^ziglang==([\d.]+)/m.exec(read('scripts', 'zig-requirements.txt'))[1];
}

function zstdVersion() {
  const header = read(zstdFolder(), 'zstd.h');
  return ['MAJOR', 'MINOR', 'RELEASE']
    .map((part) => new RegExp(`^#define ZSTD_VERSION_${part} +(\\d+)`, 'm').exec(header)[1])
    .join('.');
}

/** What is in the package itself: name, version, SPDX expression, package URL, and the text of its licence. */
export function ownComponents() {
  const zig = zigVersion();
  const inside = insideZig[zig];
  if (inside === undefined) throw new Error(`third-party.mjs does not say what zig ${zig} has inside`);
  const notice = (name) => read('scripts', 'third-party', `${name}.txt`);
  const zstd = zstdVersion();
  const { version: seccomp } = /profiles\/seccomp v(?<version>[\d.]+)/.exec(
    read('scripts', 'seccomp', 'go.mod'),
  ).groups;
  return [
    {
      name: 'zstd',
      where: 'in the binaries, and its sources in deps/zstd',
      version: zstd,
      license: 'BSD-3-Clause',
      purl: `pkg:github/facebook/zstd@v${zstd}`,
      text: read(dirname(zstdFolder()), 'LICENSE'),
    },
    {
      name: 'moby/profiles/seccomp',
      where: 'dist/mount/container/seccomp-profile.json',
      version: seccomp,
      license: 'Apache-2.0',
      purl: `pkg:golang/github.com/moby/profiles/seccomp@v${seccomp}`,
      text: notice('moby-seccomp'),
    },
    {
      name: "LLVM's libc++, libc++abi and libunwind",
      where: 'in the binaries',
      version: inside.llvm,
      license: 'Apache-2.0 WITH LLVM-exception',
      purl: `pkg:github/llvm/llvm-project@llvmorg-${inside.llvm}`,
      text: notice('llvm'),
    },
    {
      name: "zig's compiler runtime",
      where: 'in the binaries',
      version: zig,
      license: 'MIT',
      purl: `pkg:github/ziglang/zig@${zig}`,
      text: notice('zig'),
    },
    {
      name: "glibc's start files",
      where: 'in the glibc binaries',
      version: `zig-${zig}`,
      license: 'LGPL-2.1-or-later, with an exception for linking',
      purl: `pkg:github/ziglang/zig@${zig}#lib/libc/glibc`,
      text: notice('glibc'),
    },
    {
      name: "musl's start files",
      where: 'in the musl binaries',
      version: inside.musl,
      license: 'MIT',
      purl: `pkg:generic/musl@${inside.musl}`,
      text: notice('musl'),
    },
  ];
}

/** The npm packages that are installed with this one: node-addon-api's headers are in the binaries as well. */
export function npmComponents() {
  const { packages } = JSON.parse(read('package-lock.json'));
  return Object.entries(packages)
    .filter(([path, { dev = false }]) => path !== '' && !dev)
    .map(([path, { version, license }]) => ({
      name: path.split('node_modules/').at(-1),
      path,
      version,
      license,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function licenceText({ name, path, license }) {
  if (!known.has(license))
    throw new Error(`${name} has the licence ${license}: is that one that we can take?`);
  const file = readdirSync(join(root, path)).find((entry) => /^licen[cs]e/i.test(entry));
  return file === undefined ? `${license}` : read(path, file);
}

/** THIRD_PARTY_LICENSES, as it is to be. */
export function notices() {
  const bar = '='.repeat(80);
  const section = (title, text) => `${bar}\n${title}\n${bar}\n\n${text.replaceAll('\r\n', '\n').trim()}\n`;
  const own = ownComponents().map(({ name, where, text }) => section(`${name} (${where})`, text));
  // Packages of one author have one text.
  const beside = new Map();
  for (const one of npmComponents()) {
    const text = licenceText(one);
    beside.set(text, [...(beside.get(text) ?? []), one.name]);
  }
  const installed = [...beside].map(([text, names]) => section(`${names.join(', ')} (from npm)`, text));
  const head =
    'The package has code and data of others, and is installed with npm packages of others. These are their licences.\n';
  return [head, ...own, ...installed].join('\n');
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const path = join(root, 'THIRD_PARTY_LICENSES');
  const text = notices();
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    console.error('not so: THIRD_PARTY_LICENSES says what there is (run: node scripts/third-party.mjs)');
    process.exitCode = 1;
  } else console.log('ok: THIRD_PARTY_LICENSES says what there is');
}
