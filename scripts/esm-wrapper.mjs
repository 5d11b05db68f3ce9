// Runs after tsc: makes dist/index.mjs and its types, and the program executable.
// ES modules get the CommonJS build's own objects, so `instanceof SeekableErofsError` holds however a program mixes the two.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');

/** The values that dist/index.js exports. Read from its text, not by running it: the addon need not be built. */
function exportedNames() {
  const text = readFileSync(join(dist, 'index.js'), 'utf8');
  const names = [...text.matchAll(/^Object\.defineProperty\(exports, "(\w+)", \{ enumerable/gm)].map(
    ([, name]) => name,
  );
  if (names.length === 0) throw new Error('dist/index.js exports nothing that looks like tsc wrote it');
  return names.sort();
}

const names = exportedNames().map((name) => `  ${name},\n`);
writeFileSync(join(dist, 'index.mjs'), `export {\n${names.join('')}} from './index.js';\n`);
writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
chmodSync(join(dist, 'cli', 'main.js'), 0o755);
