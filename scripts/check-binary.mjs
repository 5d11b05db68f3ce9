// What must hold of a released binary, on whatever machine it is looked at.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { glibcFloor } from './prebuild-targets.mjs';

const machines = { x64: 'Advanced Micro Devices X86-64', arm64: 'AArch64' };

/** The dynamic symbols: name, version, whether the binary defines it. */
function symbols(binary) {
  const text = execFileSync('readelf', ['--wide', '--dyn-syms', binary], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => /^\d+:$/.test(fields[0]) && fields.length >= 8)
    .map((fields) => {
      const [name, version] = fields[7].split(/@+/);
      return { name, version, isDefined: fields[6] !== 'UND' };
    });
}

function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  return left[0] - right[0] || (left[1] ?? 0) - (right[1] ?? 0);
}

/** Calls require(condition, claim, detail) for each claim. */
export function checkBinary(binary, { name: target, arch, libc }, require) {
  const header = execFileSync('readelf', ['--wide', '--file-header', '--dynamic', binary], {
    encoding: 'utf8',
  });
  require(header.includes(machines[arch]), `${target} is for ${machines[arch]}`);
  const needed = [...header.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
  const ofLibc = libc === 'musl' ? /^libc\.so$/ : /^(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-.*)$/;
  const others = needed.filter((library) => !ofLibc.test(library));
  require(others.length === 0, `${target} needs the C library alone`, others.join(' '));
  checkSymbols(symbols(binary), target, libc, require);
  console.log(`${target} ${statSync(binary).size} bytes`);
}

/** Node 22 and later export a zstd of their own: ours must neither call it nor offer itself. */
function checkSymbols(all, target, libc, require) {
  const zstd = all.filter(({ name }) => /^(ZSTD|ZDICT|XXH|HUF|FSE)/.test(name));
  require(zstd.length === 0, `${target} neither imports nor exports zstd`, zstd[0]?.name);
  const exported = all.filter(({ name, isDefined }) => isDefined && !/^(napi|node_api)_\w+$/.test(name));
  require(exported.length === 0, `${target} exports its entry points alone`, exported[0]?.name);
  const cxx = all.filter(
    ({ name, version }) => /^(_Z|__cxa_throw)/.test(name) || /(GLIBCXX|CXXABI)/.test(version),
  );
  require(cxx.length === 0, `${target} needs no C++ library`, cxx[0]?.name);
  const isNewer = ({ version = '' }) =>
    compareVersions(/^GLIBC_([\d.]+)/.exec(version)?.[1] ?? '0', glibcFloor) > 0;
  const newer =
    libc === 'musl' ? all.filter(({ version = '' }) => version.startsWith('GLIBC')) : all.filter(isNewer);
  require(newer.length ===
    0, `${target} needs no glibc${libc === 'musl' ? '' : ` newer than ${glibcFloor}`}`, newer[0]?.name);
}
