// npm run bench [-- CLAIM… [options]]: the claims of bench/claims, each against other programs and the raw limit; docs/performance.md.
import { readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runCase } from './lib/contest.mjs';
import { Context } from './lib/context.mjs';
import { describeMachine } from './lib/machine.mjs';
import { RESULTS, ROOT } from './lib/paths.mjs';
import { overview } from './lib/picture.mjs';
import { barsText, caseText, machineText } from './lib/print.mjs';
import { readResults, writeResult } from './lib/results.mjs';

const FIRST = [
  'start',
  'merkle',
  'frames',
  'encode',
  'convert',
  'convert-gzip',
  'convert-zstd',
  'decode',
  'verify',
];
const CLAIMS = claimNames();
const USAGE = `usage: npm run bench [-- CLAIM… [options]]

  claims: ${CLAIMS.join(', ')} (default: all)

  --size MB        bytes of the corpus, in 10^6 (default 1000)
  --runs N         measured rounds (default 3), after a warm-up of ours; slow programs take part in fewer
  --corpus KIND    usr: this machine's /usr (default) · synthetic: the same on every machine
  --tar FILE       this layer tar in place of the corpus, where one layer is needed
  --image FILE     this raw EROFS image in place of the one built from the tar
  --threads N      our threads (default: all cores)
  --long           growth: up to 10 GB and 1 000 000 files (20 GB of disk, 10 minutes more)
  --build-peers    build containerd, nydus-image, stargz and SOCI where they are missing (some minutes, once)
  --chunk-size S   lazy: of the blobs that are mounted lazily (default 512KiB)
  --case TEXT      only cases with this in their names; with --who KEY,KEY only these programs: nothing is written to the results
  --results DIR    where the results go (default: bench/results)
  --cli FILE       another build's main.js

  MKFS_EROFS=FILE  mkfs.erofs 1.8 or later, for the Go pipeline and containerd (Debian 12 has 1.5, which is too old)
`;

function claimNames() {
  const names = readdirSync(join(ROOT, 'bench', 'claims')).map((name) => name.replace(/\.mjs$/, ''));
  const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return names.sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
}

function parseOptions() {
  const text = (fallback) => ({ type: 'string', ...(fallback !== undefined && { default: fallback }) });
  const flag = { type: 'boolean' };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      size: text('1000'),
      runs: text('3'),
      corpus: text('usr'),
      tar: text(),
      image: text(),
      threads: text(),
      long: flag,
      'build-peers': flag,
      'chunk-size': text('512KiB'),
      case: text(),
      who: text(),
      results: text(RESULTS),
      cli: text(),
      help: flag,
    },
  });
  const unknown = positionals.find((name) => !CLAIMS.includes(name));
  if (unknown !== undefined) throw new Error(`unknown claim: ${unknown}\n\n${USAGE}`);
  for (const name of ['size', 'runs']) {
    if (!(Number(values[name]) > 0)) throw new Error(`--${name} ${values[name]}: not a number above 0`);
  }
  if (!['usr', 'synthetic'].includes(values.corpus))
    throw new Error(`--corpus ${values.corpus}: usr or synthetic`);
  return { options: values, names: positionals.length > 0 ? positionals : CLAIMS };
}

async function main() {
  const { options, names } = parseOptions();
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const context = new Context(options);
  const folder = resolve(options.results);
  process.on('exit', () => context.inputs.remove());
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  for (const name of names) {
    try {
      await runClaim(name, context, folder);
    } catch (error) {
      console.error(`error: ${name}: ${error.message}\n`);
      process.exitCode = 1;
    }
  }
  const picture = overview(readResults(folder));
  if (picture !== null) writeFileSync(join(folder, 'overview.svg'), picture);
}

async function runClaim(name, context, folder) {
  const claim = await import(`./claims/${name}.mjs`);
  const start = performance.now();
  console.log(`${name}: ${claim.title}`);
  const machine = { ...describeMachine(), mkfs: context.mkfsVersion };
  const cases = [];
  const isPart = context.options.case !== undefined || context.options.who !== undefined;
  for await (const all of claim.cases(context)) {
    const contest = chosen(all, context.options);
    if (contest === null) continue;
    const { runs = context.runs, cores = context.cores } = contest;
    const result = await runCase(contest, { directory: context.directory, runs, cores, log: console.log });
    cases.push(result);
    console.log(caseText(result));
  }
  if (isPart || cases.length === 0) return;
  const { megabytes, corpus, runs, threads } = context;
  writeResult(
    {
      claim: name,
      title: claim.title,
      date: new Date().toISOString(),
      machine,
      settings: { megabytes, corpus, runs, threads },
      cases,
      ...(claim.derive && { derived: claim.derive(cases) }),
    },
    context.directory,
    folder,
  );
  const bars = barsText(readResults(folder), name);
  if (bars !== '') console.log(bars);
  console.log(`  ${machineText(machine)}; ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
}

/** What --case and --who leave of a case; null when that is nothing. */
function chosen(contest, { case: text = '', who }) {
  if (!contest.name.includes(text)) return null;
  const keys = who?.split(',');
  const contestants = contest.contestants.filter(({ key }) => keys?.includes(key) ?? true);
  return contestants.length === 0 ? null : { ...contest, contestants };
}

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
