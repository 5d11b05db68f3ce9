// Claim: time grows as the layer does, by bytes and by entries, and memory doesn't. Sizes up to 1 GB and 100 000 files; with --long up to
// 10 GB and 1 000 000.
import { execFileSync } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { encoded, oursWriting } from '../lib/contestants.mjs';
import { corpusTar, whole } from '../lib/corpus.mjs';
import { round, spread } from '../lib/stats.mjs';
import { writeManyFiles } from '../lib/synthetic.mjs';

export const title = 'growth: tar → seekable blob with dm-verity, 2 threads, from small to large';

export function* cases(context) {
  const megabytes = context.long ? [100, 1000, 10_000] : [100, 300, 1000];
  const entries = context.long ? [10_000, 100_000, 1_000_000] : [10_000, 30_000, 100_000];
  for (const size of megabytes) {
    const tar = corpusTar(context.directory, 'synthetic', size);
    yield growing(context, `${size} MB`, tar, { units: statSync(tar).size, of: 'bytes' });
  }
  for (const count of entries) {
    const tar = join(context.directory, `files-${count}.tar`);
    whole(tar, (half) => writeManyFiles(half, { entries: count }));
    yield growing(context, `${count} files`, tar, { units: count, of: 'entries' });
  }
  const flat = join(context.directory, 'files-100000-flat.tar');
  whole(flat, (half) => writeManyFiles(half, { entries: 100_000, perFolder: Infinity }));
  yield growing(context, '100000 files in one folder', flat, { of: 'entries of one folder' });
}

/**
 * A layer, and one of a single file in turn with it: what any layer pays once, under the same load. Entries take milliseconds, less than Node's
 * start varies by, so there the library's call is timed, not the process.
 */
function growing(context, name, tar, growth) {
  const bytes = statSync(tar).size;
  const single = whole(join(context.directory, 'files-1.tar'), (half) =>
    writeManyFiles(half, { entries: 1 }),
  );
  const ours = growth.of === 'bytes' ? program : call;
  return {
    name,
    input: { label: 'tar', bytes },
    runs: growth.of === 'bytes' ? context.runs : Math.max(bytes < 50e6 ? 60 : 10, context.runs),
    ...(bytes > 2e9 && { runs: 1, warm: false }),
    contestants: [
      inPageCache(ours(context, tar), tar),
      { ...ours(context, single, { key: 'start', label: 'ours, a tar of one file' }), isRival: false },
    ],
    growth,
  };
}

function program(context, tar, names) {
  return oursWriting(context, ['encode', '--dm-verity', tar], { ...names, threads: 2, result: encoded });
}

function call(context, tar, { key = 'ours', label = 'ours' } = {}) {
  const out = context.inputs.scratch(`out-${key}`);
  const clear = () => rmSync(out, { force: true });
  const result = (printed) => ({ ...JSON.parse(printed), bytes: statSync(out).size });
  return { key, label, argv: context.job('encode', tar, out, 2), before: clear, after: clear, result };
}

/** The same contestant, whose input is read before each run: a large one may have left the page cache since it was made. */
function inPageCache(contestant, path) {
  const before = () => {
    contestant.before();
    execFileSync('cat', [path], { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  return { ...contestant, before };
}

/**
 * How much more, or less, a byte (an entry) costs in the largest layer than in the smallest, start-up subtracted. `perByteInUserMode` is
 * by CPU seconds outside the kernel: inside, a page of memory that the host has to find first costs several times as much as others.
 */
export function derive(cases) {
  const cost = (unit, figure = 'seconds') => {
    const grown = cases.filter(({ growth }) => growth.of === unit);
    const each = grown.map(
      ({ rounds, growth }) =>
        spread(
          rounds.ours.map((run, i) => run[figure] - rounds.start[i][figure]),
          6,
        ).median / growth.units,
    );
    return {
      nanosecondsEach: each.map((value) => round(value * 1e9, 3)),
      growth: round(each.at(-1) / each[0], 3),
    };
  };
  const largest = cases.filter(({ growth }) => growth.of === 'bytes').at(-1);
  return {
    perByte: cost('bytes'),
    perByteInUserMode: cost('bytes', 'userSeconds'),
    perEntry: cost('entries'),
    largest: { name: largest.name, peakRssMiB: largest.contestants[0].peakRssMiB },
  };
}
