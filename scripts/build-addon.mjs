// npm's `install` step of the published package: does nothing where a prebuilt binary loads, else compiles the addon.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Why the addon doesn't load; null when it does. */
function whyNotLoaded() {
  try {
    createRequire(import.meta.url)('node-gyp-build')(root);
    return null;
  } catch (error) {
    return error.message.split('\n')[0];
  }
}

/** Programs that a compilation needs and this machine lacks. */
function missingTools() {
  const found = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
  const wanted = [
    ['a C++20 compiler (g++ 12 or later)', [process.env.CXX, 'g++', 'c++', 'clang++']],
    ['make', [process.env.MAKE, 'make', 'gmake']],
    ['python3', [process.env.npm_config_python, process.env.PYTHON, 'python3', 'python']],
  ];
  return wanted
    .filter(([, programs]) => !programs.some((program) => program && found(program)))
    .map(([name]) => name);
}

/** npm brings its own node-gyp and says where; other package managers have one on PATH. Returns what went wrong, or null. */
function compile() {
  const bundled = process.env.npm_config_node_gyp;
  const [program, ...start] = bundled ? [process.execPath, bundled] : ['node-gyp'];
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 };
  const { status, error, stdout, stderr } = spawnSync(program, [...start, 'rebuild', '--jobs=max'], options);
  if (error) return `${program} does not run (${error.message})`;
  if (status === 0) return whyNotLoaded();
  console.error(`${stdout}${stderr}`.trimEnd().split('\n').slice(-60).join('\n'));
  return `node-gyp ended with exit code ${status}`;
}

function fail(reason, hint) {
  const target = `${process.platform}-${process.arch}, Node ${process.version}`;
  console.error(`seekable-erofs-native: no prebuilt binary fits ${target}, and ${reason}.\n${hint}`);
  process.exit(1);
}

const howTo =
  'On Debian and Ubuntu: apt-get install g++ make python3; then: npm rebuild seekable-erofs-native\n' +
  '(node-gyp also fetches the headers of this Node, unless npm_config_nodedir names a folder that has them.)';

// A checkout compiles in `npm run build`; only a checkout has src/.
if (!existsSync(join(root, 'src')) && whyNotLoaded() !== null) {
  const missing = missingTools();
  if (missing.length > 0) fail(`to compile one, this machine lacks ${missing.join(', ')}`, howTo);
  console.error(
    'seekable-erofs-native: no prebuilt binary fits this machine; compiling one (about a minute)',
  );
  const fault = compile();
  if (fault !== null) fail(`compiling failed: ${fault}`, howTo);
}
