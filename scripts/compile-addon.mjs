// Runs node-gyp in a folder of its own that looks like the project: node-gyp knows no other names than binding.gyp and build/.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A packed tarball has no binding.gyp at its root: package managers take one for a wish to be compiled. */
const gypFile = () =>
  [join(root, 'binding.gyp'), join(root, 'deps', 'binding.gyp')].find((path) => existsSync(path));

function link(target, path) {
  rmSync(path, { force: true });
  if (existsSync(target)) symlinkSync(target, path);
}

/** node-gyp fetches headers unless it is told where they are; many installations of Node have them. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node_version.h')) ? { npm_config_nodedir: prefix } : {};
}

/**
 * Compiles the addon in `folder`, which may have an earlier build. `gyp` is the command that runs node-gyp.
 * Returns the path of the binary, and what spawnSync() returns.
 */
export function compileAddon(folder, { gyp, args = [], env = {}, stdio = 'pipe' }) {
  mkdirSync(folder, { recursive: true });
  link(gypFile(), join(folder, 'binding.gyp'));
  for (const name of ['native', 'scripts', 'deps', 'node_modules', 'package.json']) {
    link(join(root, name), join(folder, name));
  }
  const [program, ...start] = gyp;
  const all = [...start, 'configure', 'build', `--jobs=${availableParallelism()}`, ...args];
  const run = spawnSync(program, all, {
    cwd: folder,
    env: { ...headers(), ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio,
  });
  return { binary: join(folder, 'build', 'Release', 'seekable_erofs.node'), run };
}
