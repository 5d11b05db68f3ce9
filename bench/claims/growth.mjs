// Claim: time grows as the layer does, by bytes and by entries, and memory doesn't. Sizes up to 1 GB and 100 000 files; with --long up to
// 10 GB and 1 000 000.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { encoded, oursWriting } from '../lib/contestants.mjs';
import { corpusTar, whole } from '../lib/corpus.mjs';
import { round, spread } from '../lib/stats.mjs';
import { writeManyFiles, writeSynthetic } from '../lib/synthetic.mjs';

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
  yield growing(context, '100000 files in one folder', flat, {});
}

/** A layer, and an empty one in turn with it: what starting takes under the same load. */
function growing(context, name, tar, growth) {
  const bytes = statSync(tar).size;
  const empty = whole(join(context.directory, 'empty.tar'), (half) => writeSynthetic(half, { bytes: 0 }));
  const ours = (input, names) =>
    oursWriting(context, ['encode', '--dm-verity', input], { ...names, threads: 2, result: encoded });
  return {
    name,
    input: { label: 'tar', bytes },
    runs: bytes < 50e6 ? Math.max(40, context.runs) : context.runs, // some milliseconds count there
    ...(bytes > 2e9 && { runs: 1, warm: false }),
    contestants: [
      inPageCache(ours(tar), tar),
      { ...ours(empty, { key: 'start', label: 'ours, an empty tar' }), isRival: false },
    ],
    growth,
  };
}

/** The same contestant, whose input is read before each run: a large one may have left the page cache since it was made. */
function inPageCache(contestant, path) {
  const before = () => {
    contestant.before();
    execFileSync('cat', [path], { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  return { ...contestant, before };
}

/** How much more, or less, a byte (an entry) costs in the largest layer than in the smallest, start-up subtracted. */
export function derive(cases) {
  const seconds = ({ rounds }) =>
    spread(
      rounds.ours.map((run, i) => run.seconds - rounds.start[i].seconds),
      6,
    ).median;
  const cost = (unit) => {
    const grown = cases.filter(({ growth }) => growth.of === unit);
    const each = grown.map((item) => seconds(item) / item.growth.units);
    return {
      nanosecondsEach: each.map((value) => round(value * 1e9, 3)),
      growth: round(each.at(-1) / each[0], 3),
    };
  };
  const largest = cases.filter(({ growth }) => growth.of === 'bytes').at(-1);
  return {
    perByte: cost('bytes'),
    perEntry: cost('entries'),
    largest: { name: largest.name, peakRssMiB: largest.contestants[0].peakRssMiB },
  };
}
