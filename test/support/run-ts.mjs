// Runs a TypeScript file in a process of its own: node run-ts.mjs CACHE FILE ARGUMENTS…
// What was compiled once is taken from the folder CACHE: loading the compiler takes longer than most tests.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const require = createRequire(import.meta.url);
const cache = process.argv[2];

function compile(path) {
  const typescript = require('typescript');
  const compilerOptions = { module: typescript.ModuleKind.CommonJS, target: typescript.ScriptTarget.ES2022 };
  const { outputText } = typescript.transpileModule(readFileSync(path, 'utf8'), { compilerOptions });
  return outputText.replace(/\brequire\((['"])(\.[^'"]*)\.js\1\)/g, "require('$2')"); // late imports name what tsc will write
}

require.extensions['.ts'] = (module, path) => {
  const compiled = join(cache, createHash('sha256').update(path).digest('hex'));
  if (!existsSync(compiled)) {
    writeFileSync(`${compiled}.${process.pid}`, compile(path));
    renameSync(`${compiled}.${process.pid}`, compiled);
  }
  module._compile(readFileSync(compiled, 'utf8'), path);
};
process.argv.splice(1, 2);
require(resolve(process.argv[1]));
