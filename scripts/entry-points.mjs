// Runs after tsc: makes the entry points in build-dist: index.js lazy, index.mjs and its types beside it, the program executable.
// ES modules get the CommonJS build's own objects, so `instanceof SeekableErofsError` holds however a program mixes the two.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build-dist');
const index = join(dist, 'index.js');

/**
 * Each module is loaded when one of its exports is first used: a command needs a tenth of them. tsc writes a getter for each export
 * (`return open_blob_1.openBlob;`), so only where the module comes from has to change.
 */
function makeLazy(text) {
  const lazy = text
    .replace(/^var (\w+) = require\((.*)\);$/gm, 'const $1 = () => require($2);')
    .replace(/\breturn (\w+_\d+)\./g, 'return $1().');
  if (lazy === text) throw new Error('build-dist/index.js does not look like tsc wrote it');
  return lazy;
}

/** The values that index.js exports. Read from its text, not by running it: the addon need not be built. */
function exportedNames(text) {
  return [...text.matchAll(/^Object\.defineProperty\(exports, "(\w+)", \{ enumerable/gm)]
    .map(([, name]) => name)
    .sort();
}

const text = makeLazy(readFileSync(index, 'utf8'));
writeFileSync(index, text);
const names = exportedNames(text).map((name) => `  ${name},\n`);
writeFileSync(
  join(dist, 'index.mjs'),
  `import library from './index.js';\n\nexport const {\n${names.join('')}} = library;\n`,
);
writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
chmodSync(join(dist, 'cli', 'main.js'), 0o755);
