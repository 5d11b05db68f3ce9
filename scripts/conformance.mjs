#!/usr/bin/env node
// Tries a reader of the draft EROFS image specification on the images of vectors/: seekable-erofs-conformance [OPTIONS] CMD [ARGUMENT…].
// What CMD is asked and what it has to answer is in vectors/README.md.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const usage = `Usage: seekable-erofs-conformance [OPTIONS] CMD [ARGUMENT…]

Runs CMD ARGUMENT… LAYOUT NAME for each image of the vectors and compares what it says with what is in the image.

  --only TEXT     only vectors whose names contain TEXT
  --without NEED  leave out vectors that need this (data-only); repeatable
  --vectors DIR   another folder than the package's own
  --timeout S     seconds that one call may take (60)
  --help
`;
const folder = join(dirname(fileURLToPath(import.meta.url)), '..', 'vectors');
const largest = 1 << 26;
/** What an answer must have of each entry, beside its path. */
const needed = ['type', 'sha256'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  strict: true,
  options: {
    only: { type: 'string', default: '' },
    without: { type: 'string', multiple: true, default: [] },
    vectors: { type: 'string', default: folder },
    timeout: { type: 'string', default: '60' },
    help: { type: 'boolean', default: false },
  },
  args: ownArguments(process.argv.slice(2)),
});
// The first word that is no option, and what follows, is the command and its own.
const command = process.argv.slice(process.argv.length - commandLength(process.argv.slice(2)));

if (values.help) {
  process.stdout.write(usage);
} else if (command.length === 0 || positionals.length > 0) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  run();
}

function commandLength(args) {
  for (let i = 0; i < args.length; i++) {
    if (!args[i].startsWith('-')) return args.length - i;
    if (['--only', '--without', '--vectors', '--timeout'].includes(args[i])) i++;
  }
  return 0;
}

function ownArguments(args) {
  return args.slice(0, args.length - commandLength(args));
}

function run() {
  const vectors = JSON.parse(readFileSync(join(values.vectors, 'vectors.json'), 'utf8'));
  const chosen = vectors.filter(
    ({ name, needs }) => name.includes(values.only) && !values.without.includes(needs),
  );
  let failed = 0;
  for (const vector of chosen) {
    const fault = tryVector(vector);
    if (fault !== null) failed++;
    const { name, section, about } = vector;
    process.stdout.write(
      fault === null ? `ok      ${name}\n` : `FAILED  ${name} (section ${section}: ${about}): ${fault}\n`,
    );
  }
  const leftOut = vectors.length - chosen.length;
  process.stdout.write(`${chosen.length - failed} of ${chosen.length} as they should be`);
  process.stdout.write(leftOut === 0 ? '\n' : `; ${leftOut} left out\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** What is wrong with the answer for a vector; null when nothing is. */
function tryVector({ name, verdict, tree }) {
  const [program, ...args] = command;
  const result = spawnSync(program, [...args, join(values.vectors, 'layout'), name], {
    encoding: 'utf8',
    maxBuffer: largest,
    timeout: 1000 * Number(values.timeout),
  });
  if (result.error !== undefined) return result.error.message;
  if (result.signal !== null) return `it was ended by ${result.signal}`;
  if (verdict === 'refuse') return result.status === 0 ? 'it is accepted, and must be refused' : null;
  if (result.status !== 0) return `exit ${result.status}: ${result.stderr.trim().split('\n').at(-1)}`;
  try {
    return compareTrees(tree, JSON.parse(result.stdout));
  } catch (error) {
    return `its answer is no JSON: ${error.message}`;
  }
}

/** Members that an answer leaves out are not compared; what an entry must have is its path, its type, and the digest of a file. */
function compareTrees(expected, answer) {
  const found = new Map(answer.map((entry) => [entry.path, entry]));
  for (const entry of expected) {
    const other = found.get(entry.path);
    if (other === undefined) return `${entry.path} is missing`;
    found.delete(entry.path);
    const fault = compareEntries(entry, other);
    if (fault !== null) return `${entry.path}: ${fault}`;
  }
  const [more] = found.keys();
  return more === undefined ? null : `${more} should not be there`;
}

function compareEntries(expected, found) {
  for (const [member, value] of Object.entries(expected)) {
    const isLeftOut = found[member] === undefined && (!needed.includes(member) || value === null);
    // The size of a directory and the mode of a link are the reader's affair.
    const isFree =
      (member === 'size' && expected.type === 'dir') || (member === 'mode' && expected.type === 'symlink');
    if (isLeftOut || isFree) continue;
    const [wanted, actual] = [stable(value), stable(found[member])];
    if (wanted !== actual) return `${member} is ${actual}, expected ${wanted}`;
  }
  return null;
}

function stable(value) {
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
