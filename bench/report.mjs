// node bench/report.mjs: fills the generated sections of docs/performance.md and README.md, and bench/results/overview.svg, from
// bench/results/*.json.
//   --check   only says whether that would change anything (exit code 1)
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RESULTS, ROOT } from './lib/paths.mjs';
import { overview } from './lib/picture.mjs';
import { readmeTable } from './lib/readme.mjs';
import { fill, generated } from './lib/report.mjs';
import { readResults } from './lib/results.mjs';

const results = readResults();
const filled = (page, section) => [page, fill(readFileSync(page, 'utf8'), section, page)];
const outputs = [
  filled(join(ROOT, 'docs', 'performance.md'), generated(results)),
  filled(join(ROOT, 'README.md'), readmeTable(results)),
  [join(RESULTS, 'overview.svg'), overview(results)],
];
const changed = outputs.filter(
  ([path, text]) => text !== null && !(existsSync(path) && readFileSync(path, 'utf8') === text),
);
if (process.argv.includes('--check')) {
  for (const [path] of changed)
    console.error(`${path} is not what the results say (run: node bench/report.mjs)`);
  process.exitCode = changed.length > 0 ? 1 : 0;
} else {
  for (const [path, text] of changed) writeFileSync(path, text);
}
