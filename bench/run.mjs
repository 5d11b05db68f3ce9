// npm run bench [-- CLAIM… [options]]: times this project next to the Go reference's steps (bench/go), one JSON per claim.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { benchDirectory, corpusTar, fileSize } from './corpus.mjs';
import { comparePairs, describeMachine } from './harness.mjs';

const CLAIMS = ['encode', 'encode-plain', 'convert'];
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const USAGE = `usage: npm run bench [-- CLAIM… [options]]    claims: ${CLAIMS.join(', ')} (default: all)

  --size MB        how much of /usr the corpus takes (default 1000)
  --runs N         measured pairs (default 5), after one warm-up pair
  --tar FILE       this layer tar in place of the corpus
  --image FILE     this raw EROFS image in place of the one built from the tar
  --threads N      our threads (default: all cores)
  --goroutines N   chunks that the Go program compresses at once (default 1, as the reference)
  --cli FILE       another build's main.js
`;

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      size: { type: 'string', default: '1000' },
      runs: { type: 'string', default: '5' },
      tar: { type: 'string' },
      image: { type: 'string' },
      threads: { type: 'string' },
      goroutines: { type: 'string', default: '1' },
      cli: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const names = positionals.length > 0 ? positionals : CLAIMS;
  const unknown = names.find((name) => !CLAIMS.includes(name));
  if (values.help || unknown !== undefined) {
    process.stderr.write(unknown === undefined ? USAGE : `unknown claim: ${unknown}\n${USAGE}`);
    process.exit(values.help ? 0 : 2);
  }
  return runClaims(names, values);
}

async function runClaims(names, options) {
  const directory = benchDirectory();
  const context = {
    directory,
    ours: [process.execPath, ourProgram(options.cli)],
    go: [buildGoProgram(directory)],
    goFlags: options.goroutines === '1' ? [] : ['-goroutines', options.goroutines],
    ...findMkfs(),
  };
  const made = new Inputs(context, options);
  try {
    for (const name of names) {
      const { claim, needs } = await import(`./${name}.mjs`);
      if (needs.includes('mkfs') && context.mkfsMissing) {
        console.log(`${name}: skipped, ${context.mkfsMissing}\n`);
        continue;
      }
      for (const input of needs) context[input] ??= made[input]();
      runClaim(name, claim(context), context, options);
    }
  } finally {
    made.remove();
  }
}

/** The files that claims work on, made when the first claim asks for them. */
class Inputs {
  #context;
  #options;
  #built = null;

  constructor(context, options) {
    this.#context = context;
    this.#options = options;
  }

  tar() {
    return this.#options.tar
      ? resolve(this.#options.tar)
      : corpusTar(this.#context.directory, Number(this.#options.size));
  }

  image() {
    if (this.#options.image) return resolve(this.#options.image);
    this.#built = join(this.#context.directory, `image-${process.pid}.erofs`);
    const [program, ...args] = this.#context.ours;
    execFileSync(program, [...args, 'build', this.tar(), this.#built], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return this.#built;
  }

  remove() {
    if (this.#built) rmSync(this.#built, { force: true });
  }
}

function runClaim(name, claim, context, options) {
  if (options.threads) claim.ours.argv.push('--threads', options.threads);
  console.log(claim.title);
  const machine = describeMachine();
  const measured = comparePairs(claim, {
    directory: context.directory,
    runs: Number(options.runs),
    log: console.log,
  });
  const readable = (argv) =>
    [...argv, 'BLOB']
      .join(' ')
      .replaceAll(process.execPath, 'node')
      .replaceAll(`${ROOT}/`, '')
      .replaceAll(`${context.directory}/`, '$BENCH/');
  const result = {
    claim: name,
    title: claim.title,
    date: new Date().toISOString(),
    machine: { ...machine, mkfs: context.mkfsVersion },
    inputBytes: fileSize(claim.input),
    commands: { ours: readable(claim.ours.argv), go: readable(claim.go.argv) },
    ...measured.summary,
    pairs: measured.pairs,
  };
  const results = join(ROOT, 'bench', 'results');
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  print(result);
}

function print({ ours, go, speedup, sizeRatio, machine, commands, inputBytes }) {
  const cell = (range) =>
    (range === null ? 'not measured' : `${range.min} / ${range.median} / ${range.max}`).padEnd(24);
  const row = (label, side) =>
    console.log(
      `  ${label}  ${cell(side.seconds)} ${cell(side.cpuSeconds)} ${cell(side.peakRssMiB)} ${(side.bytes / 1e6).toFixed(1)}`,
    );
  console.log(
    `        ${'wall s (min/median/max)'.padEnd(24)} ${'CPU s'.padEnd(24)} ${'peak RSS MiB'.padEnd(24)} MB out`,
  );
  row('ours', ours);
  row('Go  ', go);
  const { min, median, max } = speedup.pairwise;
  console.log(
    `  Go/ours ${speedup.ofMedians} (medians), pairs ${min} / ${median} / ${max}; our blob is ${sizeRatio} of Go's; ${(inputBytes / 1e6).toFixed(1)} MB in`,
  );
  console.log(
    `  ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}, ${machine.go}, load ${machine.loadAverage}`,
  );
  console.log(`  ours: ${commands.ours}\n  Go:   ${commands.go}\n`);
}

function ourProgram(override) {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const program = override
    ? resolve(override)
    : join(ROOT, typeof bin === 'string' ? bin : Object.values(bin)[0]);
  if (!existsSync(program)) throw new Error(`${program} is missing: run "npm run build" first`);
  return program;
}

function buildGoProgram(directory) {
  const program = join(directory, 'go-reference');
  execFileSync('go', ['build', '-o', program, '.'], {
    cwd: join(ROOT, 'bench', 'go'),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return program;
}

/** mkfs.erofs as the Go program will find it; --tar is usable from 1.8 on. */
function findMkfs() {
  const mkfs = process.env.MKFS_EROFS || 'mkfs.erofs';
  const { stdout, stderr } = spawnSync(mkfs, ['-V'], { encoding: 'utf8' }); // 1.5 has it fail, but prints its version
  const version = /mkfs\.erofs[^\n]* ((\d+)\.(\d+)(\.\d+)?)/.exec(`${stdout}${stderr}`);
  if (!version)
    return { mkfsMissing: 'mkfs.erofs is not installed (set MKFS_EROFS to use one outside PATH)' };
  const [, text, major, minor] = version;
  const old = Number(major) < 1 || (Number(major) === 1 && Number(minor) < 8);
  return old ? { mkfsMissing: `mkfs.erofs ${text} is older than 1.8` } : { mkfs, mkfsVersion: text };
}

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
