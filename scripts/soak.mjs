// npm run test:soak [-- FILE...]: the tests in test/soak/ with their whole counts, one file after the other. `npm test` runs a tenth of the same code.
// What was run, where, when, and what each test counted is in test/soak/results/FILE.json; nothing is written for a part of a file.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { basename, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'test/soak');
const results = join(folder, 'results');
const limit = 3_600_000; // milliseconds of one test
const given = process.argv.slice(2).map((file) => basename(file).replace(/\.test\.ts$/, ''));
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => basename(file, '.test.ts'));
const wanted = given.length === 0 ? names : given;
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`error: no test/soak/${unknown[0]}.test.ts; there are ${names.join(', ')}`);
  process.exit(2);
}
for (const name of wanted) soak(name);

function soak(name) {
  const scratch = mkdtempSync(join(tmpdir(), 'soak-'));
  const report = join(scratch, 'report.json');
  const args = ['run', `test/soak/${name}.test.ts`, '--reporter=default', '--reporter=json'];
  args.push(`--outputFile.json=${report}`, `--testTimeout=${limit}`);
  try {
    const vitest = join(root, 'node_modules/.bin/vitest');
    const { status } = spawnSync(vitest, args, {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, SOAK: 'whole' },
    });
    const result = resultOf(name, JSON.parse(readFileSync(report, 'utf8')));
    mkdirSync(results, { recursive: true });
    writeFileSync(join(results, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
    if (status !== 0) process.exitCode = 1;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function resultOf(name, { testResults, startTime }) {
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  return {
    command: `npm run test:soak -- ${name}`,
    date: new Date(startTime).toISOString(),
    commit: commit(),
    machine: {
      cpu: cpus()[0].model,
      threads: availableParallelism(),
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
      kernel: release(),
      node: process.version,
    },
    tests: tests.map(({ fullName, status, duration, meta }) => ({
      name: fullName,
      status,
      seconds: Math.round(duration / 1000),
      ...meta,
    })),
  };
}

/** Of the code that was run; with a `+` where files were changed since. */
function commit() {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
  const isChanged = git('status', '--porcelain', '--', 'src', 'native', 'test', ':!test/soak/results') !== '';
  return `${git('rev-parse', '--short', 'HEAD')}${isChanged ? '+' : ''}`;
}
