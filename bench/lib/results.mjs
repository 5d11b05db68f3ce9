// bench/results/CLAIM.json: written by a run, read by the report.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RESULTS, ROOT } from './paths.mjs';

/** Writes a claim's result; with `folder` elsewhere. */
export function writeResult(result, directory, folder = RESULTS) {
  mkdirSync(folder, { recursive: true });
  const text = JSON.stringify(
    result,
    (key, value) => (key === 'command' ? readable(value, directory) : value),
    2,
  );
  writeFileSync(join(folder, `${result.claim}.json`), `${text}\n`);
}

/** All results by the claim's name. */
export function readResults(folder = RESULTS) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const read = names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')));
  return Object.fromEntries(
    read.filter(({ cases }) => cases !== undefined).map((result) => [result.claim, result]),
  );
}

/** A command line without this machine's paths. */
function readable(argv, directory) {
  return argv
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word)))
    .slice(0, 16)
    .join(' ')
    .replaceAll(process.execPath, 'node')
    .replaceAll(`${ROOT}/`, '')
    .replaceAll(/\/run-\w+\//g, '/')
    .replaceAll(`${directory}/`, '$BENCH/');
}
