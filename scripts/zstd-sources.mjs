// Lists libzstd's files for gyp and CMake, relative to the package, one a line.
//   node scripts/zstd-sources.mjs            the C and assembler files
//   node scripts/zstd-sources.mjs --include  the folder of zstd.h
// A packed tarball carries a copy in deps/zstd (scripts/stage-deps.mjs); a checkout uses the development dependency.
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const candidates = ['deps/zstd/lib', 'node_modules/zstd-napi/deps/zstd/lib'];

/** The folder of zstd.h, relative to the package. */
export function zstdFolder() {
  const found = candidates.find((folder) => existsSync(join(root, folder, 'zstd.h')));
  if (found === undefined)
    throw new Error(`zstd's sources are in none of: ${candidates.join(', ')}; run npm ci`);
  return found;
}

/** What is compiled: common, compress and decompress; no dictionary builder, no legacy formats. */
export function zstdSources() {
  return ['common', 'compress', 'decompress'].flatMap((part) =>
    readdirSync(join(root, zstdFolder(), part))
      .filter((name) => /\.[cS]$/.test(name))
      .sort()
      .map((name) => join(zstdFolder(), part, name)),
  );
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  console.log(process.argv.includes('--include') ? zstdFolder() : zstdSources().join('\n'));
}
