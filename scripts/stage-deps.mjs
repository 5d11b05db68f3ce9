// Before npm packs: fails without this machine's prebuilt binary, and copies zstd's sources and binding.gyp into deps/, so that the tarball compiles
// where no prebuilt binary fits. Package managers would compile a package that has a binding.gyp at its root.
//   node scripts/stage-deps.mjs [--remove]
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'node_modules', 'zstd-napi', 'deps', 'zstd');
const staged = join(root, 'deps', 'zstd');

/** npm packs the modes that files have: those of the umask that a checkout and a build were made by, unless they are set. */
function setModes() {
  const flags = ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'];
  const [{ files }] = JSON.parse(
    execFileSync('npm', flags, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }),
  );
  for (const path of files.map(({ path }) => join(root, path))) {
    chmodSync(path, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

// A copy that an interrupted run left may be of another version.
rmSync(dirname(staged), { recursive: true, force: true });
if (!process.argv.includes('--remove')) {
  const binaries = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  if (!existsSync(binaries) || !readdirSync(binaries).some((name) => name.endsWith('.node'))) {
    console.error(`error: ${binaries} has no binary to pack (run: npm run prebuild)`);
    process.exit(1);
  }
  if (!existsSync(source)) throw new Error(`${source} is missing: run npm ci`);
  for (const part of ['LICENSE', 'lib']) cpSync(join(source, part), join(staged, part), { recursive: true });
  copyFileSync(join(root, 'binding.gyp'), join(root, 'deps', 'binding.gyp'));
  setModes();
}
