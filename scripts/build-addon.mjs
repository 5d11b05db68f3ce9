#!/usr/bin/env node
// npx seekable-erofs-build: compiles the addon for this machine, where no prebuilt binary fits. The library loads what it made
// before any prebuilt binary.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { compileAddon, root } from './compile-addon.mjs';

/** Programs that a compilation needs and this machine lacks. */
function missingTools() {
  const found = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
  const wanted = [
    ['a C++20 compiler (g++ 12 or later)', [process.env.CXX?.split(' ')[0], 'g++', 'c++', 'clang++']],
    ['make', [process.env.MAKE, 'make', 'gmake']],
    ['python3', [process.env.npm_config_python, process.env.PYTHON, 'python3', 'python']],
  ];
  return wanted
    .filter(([, programs]) => !programs.some((program) => program && found(program)))
    .map(([name]) => name);
}

/** The command that runs node-gyp: what the package manager names, or npm's own. */
function nodeGyp() {
  const inNpm = ['node_modules', 'node-gyp', 'bin', 'node-gyp.js'];
  const npms = [join(dirname(dirname(process.execPath)), 'lib', 'node_modules', 'npm')];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const npm = join(folder, 'npm');
    if (existsSync(npm)) npms.push(dirname(dirname(realpathSync(npm))));
  }
  const scripts = [process.env.npm_config_node_gyp, ...npms.map((npm) => join(npm, ...inNpm))];
  const script = scripts.find((path) => path?.endsWith('.js') && existsSync(path));
  return script === undefined ? ['node-gyp'] : [process.execPath, script];
}

function fail(reason) {
  console.error(
    `seekable-erofs-build: ${reason}.\n` +
      'On Debian and Ubuntu: apt-get install g++ make python3; then: npx seekable-erofs-build\n' +
      '(node-gyp also fetches the headers of this Node, unless they are beside it or npm_config_nodedir names a folder that has them.)',
  );
  process.exit(1);
}

if (process.argv.length > 2) {
  console.log('Usage: seekable-erofs-build\n\nCompiles the addon of seekable-erofs-native for this machine.');
  process.exit(process.argv[2] === '--help' ? 0 : 2);
}
const missing = missingTools();
if (missing.length > 0) fail(`to compile the addon, this machine lacks ${missing.join(', ')}`);
console.error(
  `compiling the addon for ${process.platform}-${process.arch}, Node ${process.version} (about a minute)`,
);
const folder = join(root, 'build-addon');
rmSync(folder, { recursive: true, force: true });
const gyp = nodeGyp();
const { binary, run } = compileAddon(folder, { gyp });
if (run.error) fail(`${gyp[0]} does not run (${run.error.message})`);
if (run.status !== 0) {
  console.error(`${run.stdout}${run.stderr}`.trimEnd().split('\n').slice(-60).join('\n'));
  fail(`node-gyp ended with exit code ${run.status}`);
}
const place = join(root, 'build', 'Release', 'seekable_erofs.node');
mkdirSync(dirname(place), { recursive: true });
renameSync(binary, place);
rmSync(folder, { recursive: true });
try {
  createRequire(import.meta.url)(place);
} catch (error) {
  rmSync(place);
  fail(`what was compiled does not load (${error.message.split('\n')[0]})`);
}
console.error(`made ${place}`);
