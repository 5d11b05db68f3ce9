// npm run prebuild [-- TARGET... | --check FOLDER]: compiles the released binaries into prebuilds/, all on one machine.
//   TARGET          of prebuild-targets.mjs, like linux-arm64-musl; all of them by default
//   --check FOLDER  leaves prebuilds/ as it is, and compares what it compiles with the binaries in FOLDER
// The compiler is the clang of zig, which brings the C and C++ libraries of every target. Its version is pinned, and so the
// same sources give the same bytes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compileAddon, root } from './compile-addon.mjs';
import { binaryPath, targets } from './prebuild-targets.mjs';

const work = join(root, 'build-prebuild');

/** zig's path. It is installed the first time, from PyPI, into a folder of its own. */
function zig() {
  const requirements = join(root, 'scripts', 'zig-requirements.txt');
  const version = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12);
  const folder = join(work, `zig-${version}`);
  if (!existsSync(folder)) {
    rmSync(`${folder}.new`, { recursive: true, force: true });
    const pip = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--no-deps',
      '--require-hashes',
      '--only-binary',
      ':all:',
    ];
    execFileSync('python3', [...pip, '--target', `${folder}.new`, '--requirement', requirements], {
      stdio: 'inherit',
    });
    renameSync(`${folder}.new`, folder);
  }
  return join(folder, 'ziglang', 'zig');
}

/** Writes a file unless it is that already: make compiles anew what is older. */
function writeNew(path, text, mode = 0o644) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(path, text);
  chmodSync(path, mode);
}

/** Programs that node-gyp takes for a compiler of this target. */
function tools(folder, { triple, cpu }) {
  const program = zig();
  mkdirSync(folder, { recursive: true });
  const tool = (name, args) => {
    writeNew(join(folder, name), `#!/bin/sh\nexec '${program}' ${args} "$@"\n`, 0o755);
    return join(folder, name);
  };
  const flags = `-target ${triple} -mcpu=${cpu}`;
  return {
    CC: tool('cc', `cc ${flags}`),
    CXX: tool('c++', `c++ ${flags}`),
    LINK: tool('link', `c++ ${flags} -s`),
    AR: tool('ar', 'ar'),
    ZIG_GLOBAL_CACHE_DIR: join(work, 'cache'),
    ZIG_LOCAL_CACHE_DIR: join(work, 'cache'),
  };
}

/** Returns the binary. */
function compile(target) {
  const folder = join(work, target.name);
  const gyp = [process.execPath, join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'), '--silent'];
  const { binary, run } = compileAddon(folder, {
    gyp,
    args: [`--arch=${target.arch}`],
    env: tools(join(folder, 'tools'), target),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (run.status !== 0) throw run.error ?? new Error(`node-gyp ended with exit code ${run.status}`);
  return binary;
}

function digest(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Puts a binary where node-gyp-build finds it, whole or not at all. */
function place(binary, target) {
  const path = join(root, 'prebuilds', binaryPath(target));
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(binary, `${path}.new`);
  chmodSync(`${path}.new`, 0o755);
  renameSync(`${path}.new`, path);
}

function same(binary, target, folder) {
  const path = join(folder, binaryPath(target));
  const isSame = existsSync(path) && digest(path) === digest(binary);
  console.log(`${isSame ? 'ok' : 'not so'}: ${path} is what these sources give`);
  return isSame;
}

/**
 * npm runs a script of this name before each `npm run build` as well, where it has nothing to do: compiling for other machines takes minutes.
 * Nothing but npm's title says which of the two was asked for.
 */
function isHookOfBuild() {
  for (let pid = process.ppid, depth = 0; pid > 1 && depth < 4; depth++) {
    const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    if (/ run(-script)? build(?![\w:-])/.test(title.replaceAll('\0', ' '))) return true;
    pid = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  }
  return false;
}
if (process.env.npm_lifecycle_event === 'prebuild' && isHookOfBuild()) process.exit(0);

const { values: options, positionals } = parseArgs({
  options: { check: { type: 'string' } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !targets.some((target) => target.name === name));
if (unknown !== undefined) {
  throw new Error(`no target is named ${unknown}; there are ${targets.map(({ name }) => name).join(', ')}`);
}
for (const target of targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const started = performance.now();
  const binary = compile(target);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${digest(binary)}  ${binaryPath(target)}  (${seconds} s)`);
  if (options.check === undefined) place(binary, target);
  else if (!same(binary, target, resolve(options.check))) process.exitCode = 1;
}
